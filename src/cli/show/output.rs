//! Output for programs: JSON and YAML.

use serde_json::Value;

use super::terminal::print;
use crate::cli::flags::Output;

/// Writes the data to stdout: as YAML if that is the format, else as JSON.
pub(crate) fn print_data(data: &Value, output: Output) {
    print(&match output {
        Output::Yaml => yaml(data),
        Output::Json | Output::Table | Output::Wide => format!("{data:#}\n"),
    });
}

/// The object as YAML, keys in alphabetical order as in `kubectl`.
pub(crate) fn yaml(object: &Value) -> String {
    // This does not fail, because every JSON value is a YAML value. If it ever does, JSON is YAML too.
    let text = serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object:#}"));
    if text.ends_with('\n') { text } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_parsed_back_to_the_same_object() {
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
