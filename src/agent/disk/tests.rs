use super::*;

fn volume(pvc_name: &str, path: &str) -> AgentVolume {
    AgentVolume { pvc_name: pvc_name.to_owned(), path: path.into() }
}

const USAGE: FilesystemUsage = FilesystemUsage {
    all_bytes: 1000,
    free_bytes: 400,
    available_bytes: 350,
    inodes: 64,
    inodes_free: 60,
    device: 7,
    shared: false,
};

#[test]
fn the_response_has_the_documented_fields() {
    let check = |measurement: Measurement, expected: &str| {
        assert_eq!(object(&volume("data-db-0", "/data"), &measurement, None), expected)
    };
    check(
        Ok(USAGE),
        "{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":1000,\"free_bytes\":400,\"available_bytes\":350,\
         \"inodes\":64,\"inodes_free\":60}",
    );
    check(
        Ok(FilesystemUsage { shared: true, ..USAGE }),
        "{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":1000,\"free_bytes\":400,\"available_bytes\":350,\
         \"inodes\":64,\"inodes_free\":60,\"shared\":true}",
    );
    check(
        Err("no \"such\" file".to_owned()),
        "{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":0,\"free_bytes\":0,\"available_bytes\":0,\
         \"inodes\":0,\"inodes_free\":0,\"error\":\"no \\\"such\\\" file\"}",
    );
}

#[test]
fn a_held_answer_has_two_fields_more() {
    let check = |measurement: Measurement, expected: &str| {
        let held = Some((5_000, Duration::from_millis(1_234)));
        assert_eq!(object(&volume("data-db-0", "/data"), &measurement, held), expected)
    };
    check(
        Ok(USAGE),
        "{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":1000,\"free_bytes\":400,\"rate_bytes\":5000,\
         \"available_bytes\":350,\"inodes\":64,\"inodes_free\":60,\"waited_ms\":1234}",
    );
    check(
        Err("it hangs".to_owned()),
        "{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":0,\"free_bytes\":0,\"rate_bytes\":5000,\
         \"available_bytes\":0,\"inodes\":0,\"inodes_free\":0,\"waited_ms\":1234,\"error\":\"it hangs\"}",
    );
}

#[test]
fn the_level_of_a_volume_is_that_of_df() {
    let level = level(&Ok(USAGE));
    let expected = |inodes| Level::Measured { size: 1_000, bytes: Part { used: 600, whole: 950 }, inodes };
    assert_eq!(level, expected(Some(Part { used: 4, whole: 64 })));
    assert_eq!(super::level(&Ok(FilesystemUsage { inodes: 0, inodes_free: 0, ..USAGE })), expected(None));
    assert_eq!(super::level(&Err("it hangs".to_owned())), Level::Failed);
}

#[test]
fn the_response_is_json_for_any_path() {
    for odd in ["/a\"b", "/a\\b", "/a\nb\u{1}", "/ü\u{202e}"] {
        let body = object(&volume(odd, odd), &Ok(USAGE), None);
        let parsed: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(parsed["dir"], odd);
        assert_eq!(parsed["pvc_name"], odd);
    }
}

#[test]
fn two_volumes_on_one_filesystem_are_shared() {
    let check = |other: FilesystemUsage, expected: bool| {
        let mut measured = vec![Ok(USAGE), Ok(other)];
        mark_shared(&mut measured);
        assert!(measured.iter().all(|usage| usage.as_ref().is_ok_and(|usage| usage.shared == expected)), "{other:?}");
    };
    check(USAGE, true);
    check(FilesystemUsage { device: 8, ..USAGE }, false);
    // Directories of one filesystem, each with its own quota.
    check(FilesystemUsage { all_bytes: 2000, ..USAGE }, false);
}

#[test]
fn a_directory_of_the_image_is_shared_and_a_separate_filesystem_is_not() {
    let mut last = None;
    let shared = |path: &str| measure_path(Path::new(path), &mut last).map(|usage| usage.shared);
    // The last one is of another filesystem, or of the same.
    assert_eq!(["/", "/proc", "/proc", "/", "/"].map(shared), [true, false, false, true, true].map(Ok));
}

#[test]
fn a_path_that_does_not_exist_is_reported() {
    let error = measure_path(Path::new("/no/such/path"), &mut None).expect_err("missing");
    assert!(error.contains("/no/such/path") && error.contains("No such file"), "{error}");
}

#[test]
fn a_blocked_filesystem_is_reported_in_time_and_measured_only_once() {
    let exchange = Arc::new(Exchange::default());
    let measurements = Arc::new(Mutex::new(0));
    let (shared, counted) = (Arc::clone(&exchange), Arc::clone(&measurements));
    thread::spawn(move || {
        shared.serve(|| {
            *counted.lock().expect("not poisoned") += 1;
            thread::sleep(Duration::from_secs(3600));
            Ok(USAGE)
        })
    });
    for _ in 0..3 {
        let measurement = exchange.result(exchange.request(), Instant::now() + Duration::from_millis(50));
        assert_eq!(measurement, Err("the filesystem did not respond within 1 s".to_owned()));
    }
    assert_eq!(*measurements.lock().expect("not poisoned"), 1);
}

#[test]
fn a_result_is_never_older_than_its_request() {
    let exchange = Arc::new(Exchange::default());
    let (shared, count) = (Arc::clone(&exchange), Mutex::new(0));
    thread::spawn(move || {
        shared.serve(|| {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            Ok(FilesystemUsage { all_bytes: *count, ..USAGE })
        })
    });
    for requested in 1..=100 {
        let measurement = exchange.result(exchange.request(), Instant::now() + Duration::from_secs(10));
        assert_eq!(measurement.map(|usage| usage.all_bytes), Ok(requested));
    }
}
