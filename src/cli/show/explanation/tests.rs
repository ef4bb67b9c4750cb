use insta::assert_snapshot;

use super::*;
use crate::api::reasons::Reason;

fn terminal(width: usize, paint: Paint) -> Terminal {
    Terminal { width, height: None, paint }
}

fn gate(gate: &'static str, state: State, value: &str, from: &str) -> GateLine {
    GateLine { gate, state, value: value.to_owned(), from: from.to_owned() }
}

fn at_its_limit() -> Explanation {
    let gates = vec![
        gate("managed", State::Open, "on", "annotation auto-scaled"),
        gate("usage known", State::Open, "83% in data-orders-database-1", "agent, 1s ago; 3 of 3 PVCs"),
        gate("over threshold", State::Open, "80%", "default"),
        gate("none in progress", State::Open, "none", "PVC status"),
        gate("below max-size", State::Closed, "100Gi", "annotation max-size.data"),
        gate("cooldown over", State::NotReached, "6h; last 7h 12m ago", "CSI driver"),
        gate("not paused", State::Open, "not paused", "default"),
        gate("expandable", State::Open, "online", "StorageClass gp3"),
    ];
    let setting = |key, value: &str, from: &str| SettingLine { key, value: value.to_owned(), from: from.to_owned() };
    let settings = vec![setting("increase", "20%", "default"), setting("rescue", "true", "annotation rescue")];
    let why = "PVC data-orders-database-1 is 83% full, threshold 80% and has 100Gi, the largest size allowed; raise max-size, \
               or free space in the volume";
    Explanation {
        namespace: "shop".to_owned(),
        name: "orders-database".to_owned(),
        templates: vec![TemplateExplanation {
            name: "data".to_owned(),
            size: Bytes::gib(100),
            result: "no expansion: MaxSizeReached".to_owned(),
            expands_to: None,
            stops_at: Some("below max-size"),
            gates,
            settings,
            notes: vec![Note::new(Reason::MaxSizeReached, "usage", why)],
            fix: Some(
                "kubectl annotate statefulset orders-database -n shop --overwrite \
                 resize-statefulset-operator/max-size.data=120Gi"
                    .to_owned(),
            ),
            resize: None,
        }],
        notes: Vec::new(),
    }
}

#[test]
fn a_template_at_its_limit_at_80_columns() {
    let screen = draw(&at_its_limit(), terminal(80, Paint::Plain));
    // A command is never wrapped.
    let widest = screen.lines().filter(|line| !line.contains("kubectl")).map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}\n{screen}");
    assert_snapshot!(screen);
}

#[test]
fn a_template_at_its_limit_at_120_columns() {
    assert_snapshot!(draw(&at_its_limit(), terminal(120, Paint::Plain)));
}

#[test]
fn colors_do_not_change_the_columns() {
    let colored = draw(&at_its_limit(), terminal(80, Paint::Colored));
    let mut plain = String::new();
    let mut is_code = false;
    for c in colored.chars() {
        is_code |= c == '\x1b';
        if !is_code {
            plain.push(c);
        }
        is_code &= c != 'm';
    }
    assert!(colored != plain);
    assert_eq!(plain, draw(&at_its_limit(), terminal(80, Paint::Plain)));
}

#[test]
fn the_names_in_json_stay_the_same() {
    let json = serde_json::to_value(at_its_limit()).unwrap();
    let template = &json["templates"][0];
    assert_eq!((&template["stopsAt"], &template["size"]), (&"below max-size".into(), &"100Gi".into()));
    let gate = serde_json::json!({
        "gate": "cooldown over", "state": "notReached", "value": "6h; last 7h 12m ago", "from": "CSI driver",
    });
    assert_eq!(template["gates"][5], gate);
    assert_eq!(template["notes"][0]["reason"], "MaxSizeReached");
}

#[test]
fn a_long_value_loses_its_middle() {
    assert_eq!(shortened("short", 27), "short");
    let cut = shortened("83% in data-a-very-long-name-of-a-statefulset-0", 27);
    assert_eq!((cut.as_str(), cut.chars().count()), ("83% in data-a…statefulset-0", 27));
}
