//! How is a figure told? One line: what, runs, min, median, max, and the goal.

/// The head of the table.
pub fn title() {
    println!("{:<46} {:>5} {:>11} {:>11} {:>11}   goal", "what", "runs", "min", "median", "max");
}

/// Times in milliseconds.
pub fn times(what: &str, mut samples: Vec<f64>, goal: &str) {
    line(
        what,
        &mut samples,
        |ms| if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1_000.0) },
        goal,
    );
}

/// Sizes in KiB.
pub fn sizes(what: &str, mut samples: Vec<f64>, goal: &str) {
    line(what, &mut samples, |kib| format!("{:.1} MiB", kib / 1_024.0), goal);
}

/// Something that is no list of samples.
pub fn row(what: &str, runs: usize, text: &str) {
    println!("{what:<46} {runs:>5} {:>11} {:>11} {:>11}   {text}", "–", "–", "–");
}

fn line(what: &str, samples: &mut [f64], print: impl Fn(f64) -> String, goal: &str) {
    samples.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (samples.first(), samples.last()) else {
        return row(what, 0, goal);
    };
    let median = samples[samples.len() / 2];
    let (min, median, max) = (print(*min), print(median), print(*max));
    println!("{what:<46} {:>5} {min:>11} {median:>11} {max:>11}   {goal}", samples.len());
}
