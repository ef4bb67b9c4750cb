//! The word list, applied to Rust: the help of the verbs, and the doc comments and string literals of rooms of `src/`.

use std::path::Path;

use super::words;
use crate::tree;

/// The folders and files that are checked.
const ROOMS: &[&str] = &["src"];

#[test]
fn the_rooms_are_in_the_words_of_the_field() {
    let files = ROOMS.iter().flat_map(|room| {
        let is_file = room.ends_with(".rs");
        if is_file { vec![(*room).to_owned()] } else { tree::files(room, "rs") }
    });
    let found: Vec<String> =
        files.filter(|file| !file.ends_with("/tests.rs")).flat_map(|file| in_file(&file)).collect();
    assert!(found.is_empty(), "words that the field does not use:\n{}", found.join("\n"));
}

#[test]
fn the_help_of_the_verbs_is_in_the_words_of_the_field() {
    let mut tree = rso::cli::args::command(Path::new("rso"));
    tree.build();
    let found: Vec<String> = help(&tree, "rso")
        .into_iter()
        .flat_map(|(of, text)| {
            let found: Vec<_> = words(&text).map(|(_, word, instead)| (word, instead)).collect();
            found.into_iter().map(move |(word, instead)| format!("{of}: \"{word}\", write: {instead}"))
        })
        .collect();
    assert!(found.is_empty(), "words that the field does not use:\n{}", found.join("\n"));
}

#[test]
fn doc_comments_and_sentences_in_literals_are_prose_and_nothing_else_is() {
    let check = |source: &str, expected: &[(usize, &str)]| {
        let found = passages(source);
        let found: Vec<(usize, &str)> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, expected, "{source}");
    };
    check("//! All is\n//! `told`.\n\n// told\nfn told() {}\n", &[(1, "All is `told`.")]);
    check("/// ```text\n/// told\n/// ```\n/// One.\nfn f() {}", &[(1, "One.")]);
    check("f(\"a claim\", \"claim\", 'c', b\"a set\");", &[(1, "a claim"), (1, "a set")]);
    check("\nf(\"PVC {claim} \\\n      has {0:>5} {{a}}\")", &[(2, "PVC · has · {a}")]);
    check("let x = r#\"one \"two\"\"#; let y = \"a \\\" b\";", &[(1, "one \"two\""), (1, "a \" b")]);
    check("fn f<'a>(c: &'a str) { g('\"', '\\'') } // \"no no\"", &[]);
    check("#[cfg(test)]\nmod tests { fn f() { \"in it\" } }\nfn g() { \"after it\" }", &[(3, "after it")]);
    check("#[cfg(test)]\nmod tests;\n/// After.\nfn g() {}", &[(3, "After.")]);
}

/// The banned words of a file, each with its place and what to write instead.
fn in_file(file: &str) -> Vec<String> {
    let found = passages(&tree::read(file)).into_iter().flat_map(|(line, text)| {
        let found: Vec<_> = words(&text).map(|(_, word, instead)| (word, instead)).collect();
        found.into_iter().map(move |(word, instead)| (line, word, instead))
    });
    found.map(|(line, word, instead)| format!("{file}:{line}: \"{word}\", write: {instead}")).collect()
}

/// Every text of the help, with the verb that it is of.
fn help(command: &clap::Command, path: &str) -> Vec<(String, String)> {
    let of_command =
        [command.get_about(), command.get_long_about(), command.get_after_help(), command.get_after_long_help()];
    let mut texts: Vec<String> = of_command.into_iter().flatten().map(ToString::to_string).collect();
    for argument in command.get_arguments() {
        texts.extend([argument.get_help(), argument.get_long_help()].into_iter().flatten().map(ToString::to_string));
        texts.extend(argument.get_help_heading().map(ToOwned::to_owned));
        let values = argument.get_possible_values();
        texts.extend(values.iter().filter_map(|value| Some(value.get_help()?.to_string())));
    }
    let mut all: Vec<_> = texts.into_iter().map(|text| (path.to_owned(), text)).collect();
    all.extend(command.get_subcommands().flat_map(|verb| help(verb, &format!("{path} {}", verb.get_name()))));
    all
}

/// The doc comments and the string literals with more than one word, each with its first line; not those of the tests.
fn passages(source: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut test = TestItem::default();
    let (mut at, mut next_line, mut goes_on) = (0, 1, false);
    while let Some((token, length)) = token(source, at) {
        let line = next_line;
        next_line += source[at..at + length].matches('\n').count();
        at += length;
        match token {
            Token::Code(c) => {
                test.pass(c);
                goes_on &= c.is_whitespace();
            }
            Token::Comment => goes_on = false,
            _ if test.is_inside() => {}
            Token::Doc(text) if goes_on => {
                if let Some((_, doc)) = found.last_mut() {
                    doc.push('\n');
                    doc.push_str(text);
                }
            }
            Token::Doc(text) => {
                found.push((line, text.to_owned()));
                goes_on = true;
            }
            Token::Literal(text) => {
                goes_on = false;
                let text = without_placeholders(&text);
                if text.trim().contains(char::is_whitespace) {
                    found.push((line, text));
                }
            }
        }
    }
    found.into_iter().map(|(line, text)| (line, one_line(&text))).collect()
}

/// The text without fenced code, on one line: a phrase and the backticks of code may go over the end of a line.
fn one_line(text: &str) -> String {
    super::prose(text).map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// A piece of Rust.
enum Token<'a> {
    Doc(&'a str),
    Comment,
    Literal(String),
    Code(char),
}

/// The token at this place, and how long it is.
fn token(source: &str, at: usize) -> Option<(Token<'_>, usize)> {
    let rest = &source[at..];
    let first = rest.chars().next()?;
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    if let Some(text) = line.strip_prefix("///").or(line.strip_prefix("//!")).filter(|text| !text.starts_with('/')) {
        return Some((Token::Doc(text), line.len()));
    }
    if rest.starts_with("//") {
        return Some((Token::Comment, line.len()));
    }
    if rest.starts_with("/*") {
        return Some((Token::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2)));
    }
    let after_name = source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(literal) = literal(rest).filter(|_| !after_name) {
        return Some(literal);
    }
    if let Some(length) = character(rest) {
        return Some((Token::Comment, length));
    }
    Some((Token::Code(first), first.len_utf8()))
}

/// A string literal of any kind at the start of the text.
fn literal(rest: &str) -> Option<(Token<'_>, usize)> {
    let marked = rest.trim_start_matches(['b', 'c']);
    let (raw, quoted) = marked.strip_prefix('r').map_or((false, marked), |quoted| (true, quoted));
    let body = quoted.trim_start_matches('#');
    let hashes = quoted.len() - body.len();
    let body = body.strip_prefix('"').filter(|_| raw || hashes == 0)?;
    let begin = rest.len() - body.len();
    if raw {
        let end = body.find(&format!("\"{}", "#".repeat(hashes)))?;
        return Some((Token::Literal(body[..end].to_owned()), begin + end + 1 + hashes));
    }
    let (mut text, mut characters) = (String::new(), body.char_indices().peekable());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((Token::Literal(text), begin + at + 1)),
            '\\' => match characters.next()?.1 {
                '\n' => while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                'n' | 't' | 'r' => text.push('\n'),
                c => text.push(c),
            },
            c => text.push(c),
        }
    }
    None
}

/// The length of a character literal at the start of the text; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if let Some(escaped) = body.strip_prefix('\\') {
        let first = escaped.chars().next()?.len_utf8();
        return Some(2 + first + escaped[first..].find('\'')? + 1);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}

/// The text of a format string, with a dot for each placeholder.
fn without_placeholders(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..];
        let doubled = brace.starts_with("{{") || brace.starts_with("}}");
        let end = brace.find('}').filter(|_| brace.starts_with('{') && !doubled);
        match end {
            Some(end) => {
                plain.push('·');
                rest = &brace[end + 1..];
            }
            None => {
                plain.push_str(&brace[..1]);
                rest = &brace[1 + usize::from(doubled)..];
            }
        }
    }
    plain + rest
}

/// Whether the code is inside of an item with `#[cfg(test)]`.
#[derive(Default)]
struct TestItem {
    recent: String,
    depth: Option<usize>,
}

impl TestItem {
    const MARK: &str = "#[cfg(test)]";

    fn is_inside(&self) -> bool {
        self.depth.is_some()
    }

    fn pass(&mut self, c: char) {
        self.depth = match (self.depth, c) {
            (Some(0), ';') | (Some(1), '}') => None,
            (Some(depth), '{') => Some(depth + 1),
            (Some(depth), '}') => Some(depth.saturating_sub(1)),
            (depth, _) => depth,
        };
        self.recent.push(c);
        if self.recent.ends_with(Self::MARK) {
            self.recent.clear();
            self.depth = Some(0);
        }
    }
}
