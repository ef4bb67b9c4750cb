//! How is a figure told? One line: what, runs, min, median, max, and the goal.

/// The head of the table.
pub fn title() {
    println!("{:<46} {:>5} {:>11} {:>11} {:>11}   goal", "what", "runs", "min", "median", "max");
}

/// Times in milliseconds. Gives the cells of the row.
pub fn times(what: &str, mut samples: Vec<f64>, goal: &str) -> Row {
    line(what, &mut samples, time, goal)
}

/// CPU time in milliseconds.
pub fn cpu(what: &str, mut samples: Vec<f64>, goal: &str) -> Row {
    line(what, &mut samples, |ms| format!("{ms:.2} ms"), goal)
}

fn time(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1_000.0) }
}

/// Sizes in KiB.
pub fn sizes(what: &str, mut samples: Vec<f64>, goal: &str) -> Row {
    line(what, &mut samples, |kib| format!("{:.1} MiB", kib / 1_024.0), goal)
}

/// Numbers of something.
pub fn counts(what: &str, mut samples: Vec<f64>, goal: &str) -> Row {
    line(what, &mut samples, |count| format!("{count:.0}"), goal)
}

/// What was measured, runs, min, median, max.
pub type Row = [String; 5];

/// Something that is no list of samples. Gives the cells of the row.
pub fn row(what: &str, runs: usize, text: &str) -> Row {
    println!("{what:<46} {runs:>5} {:>11} {:>11} {:>11}   {text}", "–", "–", "–");
    [what.to_owned(), runs.to_string(), "–".to_owned(), "–".to_owned(), "–".to_owned()]
}

fn line(what: &str, samples: &mut [f64], print: impl Fn(f64) -> String, goal: &str) -> Row {
    samples.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (samples.first(), samples.last()) else {
        return row(what, 0, goal);
    };
    let median = samples[samples.len() / 2];
    let (min, median, max) = (print(*min), print(median), print(*max));
    println!("{what:<46} {:>5} {min:>11} {median:>11} {max:>11}   {goal}", samples.len());
    [what.to_owned(), samples.len().to_string(), min, median, max]
}

/// The rows as a table in Markdown, with a line below it.
pub fn markdown(rows: &[Row], below: &str) -> String {
    let body: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    format!("| What | Runs | Min | Median | Max |\n|---|---|---|---|---|\n{body}\n{below}")
}

/// Min, median and max of some samples, for one cell of a table.
pub fn spread(mut samples: Vec<f64>, print: impl Fn(f64) -> String) -> String {
    samples.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (samples.first(), samples.last()) else { return "–".to_owned() };
    [*min, samples[samples.len() / 2], *max].map(print).join(", ")
}

/// Milliseconds as seconds, for a cell.
pub fn seconds(ms: f64) -> String {
    format!("{:.2} s", ms / 1_000.0)
}

/// A share in percent, for a cell.
pub fn percent(share: f64) -> String {
    format!("{share:.1}%")
}

/// MB/s, for a cell.
pub fn rate(megabytes: f64) -> String {
    format!("{megabytes:.1} MB/s")
}
