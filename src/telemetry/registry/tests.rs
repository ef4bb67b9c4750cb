use jiff::Timestamp;

use super::*;
use crate::api::names::Ordinal;

fn fill(used: u64) -> VolumeUsage {
    VolumeUsage {
        capacity: Bytes(100),
        used: Bytes(used),
        available: Bytes(100 - used),
        inodes: Some((10, 3)),
        at: Timestamp::from_second(1_700_000_000).unwrap(),
    }
}

fn with_two_statefulsets() -> (Metrics, SetName, SetName) {
    let metrics = Metrics::default();
    let (db, web) = (SetName::new("shop", "db"), SetName::new("shop", "web"));
    for set in [&db, &web] {
        let template = TemplateName::from("data");
        for ordinal in 0..2 {
            let volume = Volume { set, template: &template, ordinal: Ordinal(ordinal) };
            metrics.volume(volume, fill(80));
            metrics.claim_requested(volume, Bytes(100));
        }
        metrics.template_requested(set, &template, Bytes(100));
        metrics.decided(set, &template, "Grow", Some(Reason::AutoResizeTriggered));
        metrics.resized(set, &template, "usage", "success");
        metrics.recreated(set, "success");
    }
    (metrics, db, web)
}

fn lines<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !line.starts_with('#') && line.contains(part)).collect()
}

#[test]
fn a_measurement_is_exported_under_its_documented_names() {
    let (metrics, ..) = with_two_statefulsets();
    let text = metrics.render();
    let at = r#"{namespace="shop",statefulset="db",volume_claim_template="data",persistentvolumeclaim="data-db-0",pod="db-0"}"#;
    for (name, value) in [
        ("rso_volume_capacity_bytes", "100"),
        ("rso_volume_used_bytes", "80"),
        ("rso_volume_available_bytes", "20"),
        ("rso_volume_inodes", "10"),
        ("rso_volume_inodes_used", "3"),
        ("rso_volume_reading_timestamp_seconds", "1700000000"),
    ] {
        assert!(text.contains(&format!("{name}{at} {value}\n")), "{name} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_oldest_reading_ages_until_its_volume_is_measured_again_or_gone() {
    let (metrics, db, web) = with_two_statefulsets();
    let age = |metrics: &Metrics| metrics.oldest_reading_age(Timestamp::from_second(1_700_000_050).unwrap());
    assert_eq!(age(&metrics), 50);
    let measure = |ordinal, second| {
        let (template, at) = (TemplateName::from("data"), Timestamp::from_second(second).unwrap());
        metrics.volume(
            Volume { set: &db, template: &template, ordinal: Ordinal(ordinal) },
            VolumeUsage { at, ..fill(80) },
        );
    };
    measure(0, 1_700_000_040);
    measure(1, 1_700_000_060);
    assert_eq!(age(&metrics), 50, "the volumes of web are as old as before");
    metrics.remove_statefulset(&web);
    assert_eq!(age(&metrics), 10);
    metrics.remove_pvc(&db, &"data-db-0".into());
    assert_eq!(age(&metrics), 0, "a clock that was set back");
    metrics.remove_statefulset(&db);
    assert_eq!(age(&metrics), 0);
    assert!(metrics.render().contains("rso_usage_oldest_reading_seconds 0\n"));
}

#[test]
fn metrics_that_must_stay_zero_are_exported_from_the_start() {
    let text = Metrics::default().render();
    assert!(text.contains("rso_pod_restarts_caused_total 0\n"), "{text}");
    assert!(text.contains("leader_election_master_status{name=\"rso\"} 0\n"), "{text}");
    assert!(text.contains("workqueue_depth{name=\"statefulset\"} 0\n"), "{text}");
}

#[test]
fn a_deleted_statefulset_leaves_no_series_behind() {
    let (metrics, db, _) = with_two_statefulsets();
    let before = lines(&metrics.render(), "statefulset=\"db\"").len();
    assert_eq!(before, 6 * 2 + 2 + 4);
    metrics.remove_statefulset(&db);
    let text = metrics.render();
    assert_eq!(lines(&text, "\"db\""), Vec::<&str>::new());
    assert_eq!(lines(&text, "statefulset=\"web\"").len(), before);
}

#[test]
fn a_pvc_that_is_scaled_down_leaves_no_series_behind() {
    let (metrics, db, _) = with_two_statefulsets();
    metrics.remove_pvc(&db, &"data-db-1".into());
    let text = metrics.render();
    assert_eq!(lines(&text, "data-db-1"), Vec::<&str>::new());
    assert_eq!(lines(&text, "data-db-0").len(), 7);
}

#[test]
fn a_template_has_one_decision_at_a_time() {
    let (metrics, db, _) = with_two_statefulsets();
    metrics.decided(&db, &"data".into(), "Keep", None);
    let text = metrics.render();
    assert_eq!(
        lines(&text, "rso_decision_info{namespace=\"shop\",statefulset=\"db\""),
        [
            r#"rso_decision_info{namespace="shop",statefulset="db",volume_claim_template="data",decision="Keep",reason=""} 1"#
        ]
    );
    assert_eq!(lines(&text, "decision=\"Grow\"").len(), 1);
}

#[test]
fn the_absence_of_a_name_has_buckets_from_a_millisecond_to_a_minute() {
    let metrics = Metrics::default();
    metrics.absent(Duration::from_millis(15));
    let text = metrics.render();
    assert!(text.contains("rso_template_absent_seconds_bucket{le=\"0.01\"} 0\n"), "{text}");
    assert!(text.contains("rso_template_absent_seconds_bucket{le=\"0.02\"} 1\n"), "{text}");
    assert!(text.contains("rso_template_absent_seconds_bucket{le=\"60.0\"} 1\n"), "{text}");
}

#[test]
fn dashboards_find_the_standard_names() {
    let metrics = Metrics::default();
    metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
    metrics.reconciled(ReconcileResult::RequeueAfter, Duration::from_millis(3));
    metrics.api_request(&Method::PATCH, "409");
    metrics.leads(true);
    metrics.queued(7);
    metrics.webhook("absorb", 200);
    let text = metrics.render();
    for line in [
        r#"controller_runtime_reconcile_total{controller="statefulset",result="error"} 1"#,
        r#"controller_runtime_reconcile_total{controller="statefulset",result="requeue_after"} 1"#,
        r#"controller_runtime_reconcile_errors_total{controller="statefulset"} 1"#,
        r#"controller_runtime_reconcile_time_seconds_count{controller="statefulset"} 2"#,
        r#"rest_client_requests_total{code="409",method="PATCH"} 1"#,
        r#"leader_election_master_status{name="rso"} 1"#,
        r#"workqueue_depth{name="statefulset"} 7"#,
        r#"rso_webhook_requests_total{webhook="absorb",code="200"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn the_reference_lists_every_exported_metric() {
    let page = reference();
    for metric in Metrics::default().described {
        assert!(page.contains(&format!("| `{}` |", metric.scraped())));
        assert!(!metric.help.ends_with('.'), "the exposition adds the full stop");
    }
}
