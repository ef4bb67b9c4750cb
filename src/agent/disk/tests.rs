use super::*;

fn volume(claim: &str, path: &str) -> Volume {
    Volume { claim: claim.to_owned(), path: path.into() }
}

const FIGURES: Figures = Figures {
    all_bytes: 1000,
    free_bytes: 400,
    available_bytes: 350,
    inodes: 64,
    inodes_free: 60,
    device: 7,
    shared: false,
};

#[test]
fn the_answer_has_the_fields_of_the_contract() {
    let check = |found: Found, expected: &str| assert_eq!(render(&[(&volume("data-db-0", "/data"), found)]), expected);
    check(
        Ok(FIGURES),
        "[{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":1000,\"free_bytes\":400,\"available_bytes\":350,\
         \"inodes\":64,\"inodes_free\":60}]\n",
    );
    check(
        Ok(Figures { shared: true, ..FIGURES }),
        "[{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":1000,\"free_bytes\":400,\"available_bytes\":350,\
         \"inodes\":64,\"inodes_free\":60,\"shared\":true}]\n",
    );
    check(
        Err("no \"such\" file".to_owned()),
        "[{\"dir\":\"/data\",\"pvc_name\":\"data-db-0\",\"all_bytes\":0,\"free_bytes\":0,\"available_bytes\":0,\
         \"inodes\":0,\"inodes_free\":0,\"error\":\"no \\\"such\\\" file\"}]\n",
    );
}

#[test]
fn whatever_the_path_the_answer_is_json() {
    for odd in ["/a\"b", "/a\\b", "/a\nb\u{1}", "/ü\u{202e}"] {
        let body = render(&[(&volume(odd, odd), Ok(FIGURES))]);
        let read: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(read[0]["dir"], odd);
        assert_eq!(read[0]["pvc_name"], odd);
    }
}

#[test]
fn two_volumes_on_one_filesystem_are_shared() {
    let check = |other: Figures, expected: bool| {
        let (a, b) = (volume("a", "/a"), volume("b", "/b"));
        let mut found = vec![(&a, Ok(FIGURES)), (&b, Ok(other))];
        mark_twins(&mut found);
        assert!(found.iter().all(|(_, found)| found.as_ref().is_ok_and(|f| f.shared == expected)), "{other:?}");
    };
    check(FIGURES, true);
    check(Figures { device: 8, ..FIGURES }, false);
    // Folders of one filesystem, each with a quota of its own.
    check(Figures { all_bytes: 2000, ..FIGURES }, false);
}

#[test]
fn a_folder_of_the_image_is_shared_and_a_filesystem_of_its_own_is_not() {
    assert_eq!(look(Path::new("/")).map(|figures| figures.shared), Ok(true));
    assert_eq!(look(Path::new("/proc")).map(|figures| figures.shared), Ok(false));
}

#[test]
fn a_path_that_is_missing_is_told() {
    let told = look(Path::new("/no/such/path")).expect_err("missing");
    assert!(told.contains("/no/such/path") && told.contains("No such file"), "{told}");
}

#[test]
fn a_filesystem_that_hangs_is_told_in_time_and_asked_only_once() {
    let exchange = Arc::new(Exchange::default());
    let looks = Arc::new(Mutex::new(0));
    let (theirs, counted) = (Arc::clone(&exchange), Arc::clone(&looks));
    thread::spawn(move || {
        theirs.answer(|| {
            *counted.lock().expect("not poisoned") += 1;
            thread::sleep(Duration::from_secs(3600));
            Ok(FIGURES)
        })
    });
    for _ in 0..3 {
        let found = exchange.found(exchange.ask(), Instant::now() + Duration::from_millis(50));
        assert_eq!(found, Err("the filesystem has not answered for 1 s".to_owned()));
    }
    assert_eq!(*looks.lock().expect("not poisoned"), 1);
}

#[test]
fn an_answer_is_never_older_than_its_question() {
    let exchange = Arc::new(Exchange::default());
    let (theirs, count) = (Arc::clone(&exchange), Mutex::new(0));
    thread::spawn(move || {
        theirs.answer(|| {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            Ok(Figures { all_bytes: *count, ..FIGURES })
        })
    });
    for asked in 1..=100 {
        let found = exchange.found(exchange.ask(), Instant::now() + Duration::from_secs(10));
        assert_eq!(found.map(|figures| figures.all_bytes), Ok(asked));
    }
}
