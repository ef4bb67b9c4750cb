//! Does a quantity mean here what it means to Kubernetes? The original, `resource.ParseQuantity`, is asked: a program of a
//! few lines in `tests/cluster/quantity`, built from the module of the test cluster's Kubernetes.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rso::api::bytes::{Bytes, QuantityError};

use crate::tree;

/// Random texts of each kind.
const RANDOM: usize = 10_000;

/// What the original makes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Original {
    /// No quantity.
    Error,
    /// More than 2^63-1.
    Large,
    /// So many, rounded up.
    Value(i64),
}

#[test]
fn a_quantity_means_what_it_means_to_kubernetes() {
    let mut texts = known();
    texts.extend(corpus());
    texts.extend(random("[-+0-9.eEKMGTPnumki ]{0,10}"));
    texts.extend(random("[+]?[0-9]{0,3}([.][0-9]{0,3})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{1,2})?"));
    texts.extend(random("[0-9]{0,25}[.]?[0-9]{0,25}(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{1,2})?"));
    // What we print is a quantity, of the same value.
    let printed: Vec<String> =
        texts.iter().filter_map(|text| text.parse::<Bytes>().ok()).map(|size| size.to_string()).collect();
    texts.extend(printed);
    let answers = original(&texts);
    let differ = |(text, answer): &(&String, &Original)| !agree(text.parse(), **answer);
    let wrong: Vec<_> = texts.iter().zip(&answers).filter(differ).take(20).collect();
    assert!(wrong.is_empty(), "Kubernetes reads these otherwise: {wrong:#?}");
    assert!(answers.iter().filter(|answer| matches!(answer, Original::Value(_))).count() > RANDOM, "too few are any");
}

/// Ours is stricter in three ways: nothing negative is a size, nothing is cut down to the largest, and a unit without a
/// number, which the original takes for 0, is a slip of the pen.
fn agree(ours: Result<Bytes, QuantityError>, original: Original) -> bool {
    match (ours, original) {
        (Ok(size), Original::Value(value)) => i64::try_from(size.0) == Ok(value),
        (Err(QuantityError::TooLarge), Original::Large | Original::Value(i64::MAX)) => true,
        (Err(QuantityError::Negative), Original::Error) => true,
        (Err(QuantityError::Negative), Original::Value(value)) => value <= 0,
        (Err(QuantityError::NoNumber), Original::Value(0)) => true,
        (Err(QuantityError::Empty | QuantityError::NoNumber | QuantityError::UnknownUnit(_)), Original::Error) => true,
        (Ok(_) | Err(_), _) => false,
    }
}

/// The corners of the grammar.
fn known() -> Vec<String> {
    let texts = [
        "",
        "0",
        "-0",
        "+0",
        "00",
        ".",
        "+",
        "-",
        "1",
        "1.",
        ".5",
        "0.5",
        "1.5Gi",
        "10Gi",
        "10GI",
        "10gi",
        "10 Gi",
        " 10Gi",
        "10Gi ",
        "1e3",
        "1E3",
        "1e",
        "1E",
        "1e+",
        "1e-",
        "1e+3",
        "1e-3",
        "1e0",
        "1e1.5",
        "1E1E",
        "1Ei",
        "7Ei",
        "8Ei",
        "7.999Ei",
        "0.0001Ki",
        "1n",
        "1u",
        "1m",
        "1k",
        "1K",
        "1Ki",
        "1ki",
        "1M",
        "1G",
        "1T",
        "1P",
        "1mi",
        "999n",
        "1000n",
        "1001n",
        "0.1n",
        "1e-9",
        "1e-10",
        "9223372036854775807",
        "9223372036854775808",
        "9223372036854775806.5",
        "9223372036854775807.5",
        "9.223372036854775807E",
        "9007199254740993",
        "123456789012345678901234567890n",
        "0.123456789012345678901234567890",
        "1e18",
        "1e19",
        "9e18",
        "1e99",
        "0e99",
        "0Ei",
        "00.00Ki",
        "12e-1",
        "1.2.3",
        "--1",
        "+-1",
        "-+1",
        "1-",
        "1+",
        "0x10",
        "1_000",
        "1,000",
        "NaN",
        "Inf",
        "1e-9223372036854775809",
        "１Gi",
        "1Gi\n",
        "\u{0}",
    ];
    texts.map(str::to_owned).to_vec()
}

fn corpus() -> Vec<String> {
    let folder = tree::root().join("fuzz/corpus/quantity");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.filter_map(|data| String::from_utf8(data).ok()).filter(|text| !is_endless(text)).collect()
}

/// The original cuts an exponent to 32 bits and then writes all its zeros: `1e-9000000000004484` takes it for ever.
fn is_endless(text: &str) -> bool {
    let exponent = text.rsplit(['e', 'E']).next().unwrap_or_default();
    exponent.len() < text.len() && exponent.trim_start_matches(['+', '-']).len() > 4
}

/// The same in every run.
fn random(pattern: &str) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::string::string_regex(pattern).unwrap();
    (0..RANDOM).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn original(texts: &[String]) -> Vec<Original> {
    let ours = tree::root().join(".cluster/bin/quantity");
    let program = if ours.exists() { ours } else { PathBuf::from("quantity") };
    let mut asked = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("quantity cannot be run ({error}): `make tools` brings it"));
    let lines: String = texts.iter().map(|text| format!("{}\n", serde_json::Value::from(text.as_str()))).collect();
    let mut input = asked.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = asked.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let answers: Vec<Original> = String::from_utf8(output.stdout).unwrap().lines().map(read).collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

fn read(line: &str) -> Original {
    match line {
        "error" => Original::Error,
        "large" => Original::Large,
        value => Original::Value(value.parse().unwrap()),
    }
}
