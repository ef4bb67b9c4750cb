//! The picture of a terminal in the README: drawn from a recording of the demo.
//!
//! `make picture` records the demo and runs this. `RECORDING` is the file that `script` wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::float_arithmetic)]

mod recording;
mod svg;

use std::fs;
use std::path::Path;

use recording::{Line, lines, screens};

/// What a user would type; the demo prints the same line above the first screen.
const COMMAND: &str = "rso status shop --namespace rso-demo --watch";

/// The last lines of the demo that the picture has.
const LAST: &str = "No Pod was restarted, no write failed";

fn main() {
    let recorded = std::env::var("RECORDING").expect("RECORDING names no recording: use `make picture`");
    let recorded = fs::read_to_string(&recorded).unwrap_or_else(|e| panic!("{recorded}: {e}"));
    let picture = svg::draw("rso expands volumes before they fill up", &shown(&recorded));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/demo.svg");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &picture).unwrap();
    println!("docs/images/demo.svg: {} bytes", picture.len());
}

/// The command, the first screen on which a PVC is being expanded, and what was the same before and after.
fn shown(recorded: &str) -> Vec<Line> {
    let from = recorded.find(COMMAND).expect("the demo has not shown its command");
    let watched = &recorded[from..];
    let screens = screens(watched);
    let expanding = screens.iter().skip(1).find(|screen| screen.contains("expanding"));
    let expanding = expanding.expect("no screen shows a PVC that is being expanded: record the demo again");
    let mut shown = lines(&format!("\x1b[2m$ \x1b[0m{COMMAND}"));
    shown.push(Vec::new());
    shown.extend(lines(expanding.trim_end()));
    shown.push(Vec::new());
    shown.extend(table(watched));
    shown
}

/// The table in which the demo compares before and after, up to its last sentence.
fn table(watched: &str) -> Vec<Line> {
    let all = lines(watched);
    let text = |line: &Line| line.iter().map(|run| run.text.as_str()).collect::<String>();
    let first = all.iter().position(|line| text(line).split_whitespace().eq(["before", "after"])).expect("no table");
    let last = all.iter().position(|line| text(line).contains(LAST)).expect("the demo has not ended well");
    all[first..=last].to_vec()
}
