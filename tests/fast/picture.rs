//! Is the picture in the README small, drawn from the demo, and free of what belongs to one machine?

use crate::tree;

#[path = "../picture/recording.rs"]
mod recording;
#[allow(clippy::float_arithmetic, reason = "pixels")]
#[path = "../picture/svg.rs"]
mod svg;

#[test]
fn the_readme_has_the_picture_with_a_text_for_those_who_do_not_see_it() {
    let readme = tree::read("README.md");
    let alt = readme.split("![").find_map(|rest| rest.split_once("](docs/images/demo.svg)")).expect("no picture").0;
    assert!(alt.len() > 80 && alt.contains("rso status"), "{alt}");
}

#[test]
fn the_picture_is_small_and_names_no_machine() {
    let picture = tree::read("docs/images/demo.svg");
    assert!(picture.starts_with("<svg ") && picture.len() < 40_000, "{} bytes", picture.len());
    for word in ["/work", "/home", "/root", "/tmp", "10.87.", "localhost", "node1"] {
        assert!(!picture.contains(word), "{word}");
    }
    for word in ["AutoResizeTriggered", "No Pod was restarted"] {
        assert!(picture.contains(word), "{word}");
    }
}

#[test]
fn a_recording_becomes_styled_runs_and_its_screens_are_told_apart() {
    let bold = recording::Style { is_bold: true, ..Default::default() };
    let green = recording::Style { color: Some(2), ..Default::default() };
    let run = |text: &str, style| recording::Run { text: text.to_owned(), style };
    let lines = recording::lines("\x1b[1mdb\x1b[0m 3/3\r\n\x1b[32mready\x1b[39m");
    let plain = recording::Style::default();
    assert_eq!(lines, [vec![run("db", bold), run(" 3/3", plain)], vec![run("ready", green)]]);
    assert_eq!(recording::screens("a\x1b[1mb\x1b[12A\x1b[Jc\x1b[2Ad"), ["a\x1b[1mb", "\x1b[12A\x1b[Jc", "\x1b[2Ad"]);
}

#[test]
fn every_piece_of_a_line_is_drawn_in_its_own_cell() {
    let picture = svg::draw("a < b", &recording::lines("\x1b[33m██\x1b[0m ab  c & d"));
    assert!(picture.contains("<title>a &lt; b</title>"), "{picture}");
    assert!(
        picture.contains("<rect x=\"20.0\" y=\"37.0\" width=\"16.8\" height=\"13.0\" fill=\"#e3b341\""),
        "{picture}"
    );
    assert!(picture.contains("<text x=\"45.2\" y=\"48.0\" textLength=\"16.8\">ab</text>"), "{picture}");
    assert!(picture.contains("<text x=\"78.8\" y=\"48.0\" textLength=\"42.0\">c &amp; d</text>"), "{picture}");
}
