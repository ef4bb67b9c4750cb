//! How does an answer look to a program?

use serde_json::Value;

use super::terminal::print;
use crate::cli::flags::Output;

/// Writes the answer to stdout, as YAML only where that was asked for.
pub(crate) fn print_data(answer: &Value, output: Output) {
    print(&match output {
        Output::Yaml => yaml(answer),
        Output::Json | Output::Table | Output::Wide => format!("{answer:#}\n"),
    });
}

/// The object as YAML, keys by the alphabet as `kubectl` has them.
pub(crate) fn yaml(object: &Value) -> String {
    // Every JSON value is a YAML value: this does not fail, and JSON is YAML if it ever should.
    let text = serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object:#}"));
    if text.ends_with('\n') { text } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_as_yaml_is_read_back() {
        let object = json!({
            "apiVersion": "apps/v1", "version": "1.10", "on": "no", "mode": 420, "list": [{"a": null}, []],
            "script": "#!/bin/sh\nset -e\n  indented: yes # no comment\n", "empty": {}, "octal": "0644",
        });
        let text = yaml(&object);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, object, "{text}");
        assert!(text.contains("script: |\n"), "{text}");
    }
}
