//! Is the text for people in the words of the field? A list of words that are not, each with what to write instead.

mod source;

use crate::tree;

/// The pages that are held to it, besides those of `docs`.
const PAGES: &[&str] = &["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "tests/cluster/README.md"];

/// Files whose comments are held to it.
const COMMENTED: &[&str] =
    &["chart/values.yaml", "examples/ask-for-a-size.yaml", "examples/demo.yaml", "examples/grow-by-usage.yaml"];

/// What is not written, with what to write instead. Whole words, in any case; outside of code and of the targets of links.
const BANNED: &[(&[&str], &str)] = &[
    (&["tell", "tells", "told"], "report, return, log, record an Event, or print"),
    (&["at it", "is at it"], "name the action: the CSI driver is expanding the volume"),
    (&["made anew", "makes anew", "begins anew", "starts anew", "anew", "afresh"], "again, recreate, re-evaluate"),
    (&["whoever", "whatever"], "a named subject: you, the client, the administrator; or regardless of"),
    (&["stands in the way", "stand in the way", "in the way"], "blocks, prevents"),
    (
        &["it is this set's turn", "its turn", "their turn", "turn comes"],
        "waiting: another StatefulSet is being recreated",
    ),
    (&["comes true", "come true", "made true", "makes true"], "is applied, takes effect"),
    (&["parachute"], "OnDelete during the recreation"),
    (&["doom", "doomed", "grave", "trash", "quarantined"], "mark for deletion, deleted-files directory, unavailable"),
    (&["the set", "this set", "each set", "every set", "no set", "the sets", "your sets"], "StatefulSet"),
    (&["set's", "sets'"], "StatefulSet's"),
    (&["claim", "claims", "claim's"], "PVC or PersistentVolumeClaim"),
    (&["grow", "grows", "grew", "growth", "growths"], "expand, expansion"),
    (&["look after", "looks after", "looked after"], "manage, watch"),
    (&["looks", "a look", "look again"], "gets, lists, observes, polls"),
    (&["passed over", "passes over", "pass over"], "reconcile"),
    (&["at rest", "settled", "unsettled"], "stable, steady state"),
    (&["taken back", "takes back", "take back", "undone"], "rolled back, aborted"),
    (&["let go of", "lets go of", "letting go of"], "release, remove the finalizer"),
    (&["landed", "lands", "landing"], "completed, finalizing"),
    (&["wish", "wishes"], "request, desired size"),
    (&["verdict", "verdicts"], "decision"),
    (&["clerk", "keeper", "witness"], "handler, certificate manager, observer"),
    (&["the note", "a note", "notes"], "the Event message"),
    (&["leftover", "leftovers"], "retained PVCs of scaled-down replicas"),
    (&["a fault", "the fault"], "error; a fault is only what a test injects"),
    (&["can be had", "cannot be had", "could be had", "could not be had"], "can be provided, cannot be bound"),
    (&["has moved"], "changed since it was read"),
    (&["nobody's", "somebody's"], "name the owner"),
    (&["is mended", "mended"], "fixed"),
    (&["e.g", "i.e", "etc."], "for example, that is, and so on"),
    (&["please", "simply", "easy", "easily", "obviously", "basically", "of course"], "nothing: leave the word out"),
    (&["currently", "at present"], "the present tense; now, or a version, if there is a change"),
    (&["in order to"], "to"),
    (&["utilize", "utilizes", "leverage", "leverages"], "use"),
    (&["licence", "licences", "behaviour", "colour"], "the American spelling"),
];

fn pages() -> Vec<String> {
    tree::files("docs", "md").into_iter().chain(PAGES.iter().map(|page| (*page).to_owned())).collect()
}

#[test]
fn the_pages_are_in_the_words_of_the_field() {
    let pages = pages();
    let pages = pages.iter().map(|page| (page.as_str(), tree::read(page)));
    let commented = COMMENTED.iter().map(|file| (*file, comments(&tree::read(file))));
    let found: Vec<String> = pages
        .chain(commented)
        .flat_map(|(page, text)| {
            words(&text)
                .map(|(line, word, instead)| format!("{page}:{line}: \"{word}\", write: {instead}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "words that the field does not use:\n{}", found.join("\n"));
}

#[test]
fn a_line_of_prose_is_one_sentence() {
    let found: Vec<String> = pages()
        .iter()
        .flat_map(|page| {
            let text = tree::read(page);
            let several = prose(&text).filter(|(_, line)| sentences(line) > 1);
            several
                .map(|(line, _)| format!("{page}:{line}: begin the next sentence on a line of its own"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "more than one sentence on a line:\n{}", found.join("\n"));
}

#[test]
fn a_banned_word_is_found_as_a_whole_word_and_outside_of_code() {
    let check = |text: &str, expected: &[(usize, &str)]| {
        let found: Vec<(usize, &str)> = words(text).map(|(line, word, _)| (line, word)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("All is told.\n\nTell *the set*, and\n", &[(1, "told"), (3, "tell"), (3, "the set")]);
    check("the settings, a foretold StatefulSet\n", &[]);
    check("`claims` and [Events](claims.md#the-set)\n", &[]);
    check("```sh\ntold\n```\ntold\n", &[(4, "told")]);
    check("See https://example.org/claims, then\n", &[]);
    check("Wait, so that it runs. So that it ends.\n", &[(1, "so that")]);
    check("- So that it runs\n", &[(1, "so that")]);
    check("Stop it so that it ends.\n", &[]);
    check("<!-- runs: begin, written by make model -->\ntold\n<!-- runs: end -->\ntold\n", &[(4, "told")]);
    check(&comments("told: 1 # told\n  # All is told.\n"), &[(2, "told")]);
}

#[test]
fn a_sentence_ends_before_the_next_one_begins() {
    let check = |line: &str, expected: usize| assert_eq!(sentences(line), expected, "{line}");
    check("One sentence.", 1);
    check("One sentence. Another one.", 2);
    check("- **Bold.** Another one", 2);
    check("It ends with code `a. B`. Then another.", 2);
    check("Kubernetes 1.34 or later, at 3 a.m. on Monday", 1);
    check("| A row. Of a table. | Any number. |", 1);
    check("1. An item", 1);
}

/// The banned words of a page: the line, the word, what to write instead.
fn words(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    prose(text).flat_map(|(number, line)| {
        let line = plain(line).to_lowercase();
        let banned = BANNED.iter().flat_map(|(words, instead)| words.iter().map(move |word| (*word, *instead)));
        let mut found: Vec<_> = banned.filter(|(word, _)| has(&line, word)).collect();
        if begins_with_so_that(&line) {
            found.push(("so that", "a sentence with a subject, or `so that` in the middle of one"));
        }
        found.into_iter().map(move |(word, instead)| (number, word, instead))
    })
}

/// The comments of a YAML file, each on its line.
fn comments(text: &str) -> String {
    let comment = |line: &'_ str| line.trim_start().strip_prefix('#').unwrap_or_default().to_owned();
    text.lines().map(comment).collect::<Vec<_>>().join("\n")
}

/// The lines outside of fenced code and of what programs write between two marks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut is_code, mut is_generated) = (false, false);
    text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        let is_mark = line.starts_with("<!-- ");
        is_code ^= is_fence;
        is_generated = if is_mark { line.contains(": begin, ") } else { is_generated };
        !is_code && !is_fence && !is_generated && !is_mark
    })
}

/// A line without code, the targets of links, and addresses.
fn plain(line: &str) -> String {
    let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" · ");
    let mut text = String::new();
    for (index, part) in outside.split("](").enumerate() {
        let rest = if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        text.push_str(rest);
        text.push(' ');
    }
    text.split(' ').filter(|word| !word.contains("://")).collect::<Vec<_>>().join(" ")
}

/// Whether a line has these words, whole.
fn has(line: &str, words: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    line.match_indices(words)
        .any(|(at, found)| !line[..at].ends_with(is_letter) && !line[at + found.len()..].starts_with(is_letter))
}

/// Whether a clause begins with these words: at the start of a sentence, or after a comma or a semicolon.
fn begins_with_so_that(line: &str) -> bool {
    let start = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    start.starts_with("so that ") || [". so that ", ", so that ", "; so that "].iter().any(|words| line.contains(words))
}

/// How many sentences a line has; a row of a table counts as one.
fn sentences(line: &str) -> usize {
    if line.trim_start().starts_with('|') {
        return 1;
    }
    let line = plain(line);
    let ends = line.match_indices(['.', '?', '!']).filter(|(at, _)| {
        let before = &line[..*at];
        let after = line[at + 1..].trim_start_matches(['*', '_', ')', '"']);
        let is_number = before.trim_start().chars().all(|c| c.is_ascii_digit());
        !is_number && after.starts_with(' ') && after.trim_start().starts_with(|c: char| c.is_uppercase() || c == '·')
    });
    ends.count() + 1
}
