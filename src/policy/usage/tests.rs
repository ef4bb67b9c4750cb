use super::*;
use crate::policy::samples::{at, claim, reading, usage};

const GIB: u64 = Bytes::GIB;

#[test]
fn fullness_is_that_of_df() {
    let check = |used: u64, available: u64, expected: Option<Percent>| {
        let usage = Usage { used: Bytes(used), available: Bytes(available), ..usage(&claim(0, Bytes::gib(1)), 0) };
        assert_eq!(usage.fullness(), expected);
    };
    check(80, 20, Some(Percent::whole(80)));
    check(0, 100, Some(Percent(0)));
    check(100, 0, Some(Percent::whole(100)));
    check(2, 1, Some(Percent(66_666)));
    check(u64::MAX, u64::MAX, Some(Percent::whole(100)));
    check(0, 0, None);
}

#[test]
fn a_filesystem_without_fixed_inodes_has_no_inode_fullness() {
    let check = |inodes: Option<Inodes>, expected: Option<Percent>| {
        let usage = Usage { inodes, ..usage(&claim(0, Bytes::gib(1)), 0) };
        assert_eq!(usage.inode_fullness(), expected);
    };
    check(None, None);
    check(Some(Inodes { total: 100, free: 25 }), Some(Percent::whole(75)));
    check(Some(Inodes { total: 100, free: 200 }), Some(Percent(0)));
}

#[test]
fn what_is_said_is_judged_against_the_claim() {
    let ten = claim(0, Bytes::gib(10));
    let check = |change: &dyn Fn(&mut Usage), expected: &str| {
        let mut said = usage(&ten, 50);
        change(&mut said);
        let told = match judge(said, &ten, Rate::default()) {
            Reading::Measured { .. } => "measured".to_owned(),
            Reading::Idle { .. } => "idle".to_owned(),
            Reading::Unknown(why) => format!("{why:?}"),
        };
        assert!(told.starts_with(expected), "{told}, not {expected}");
    };
    let sized = |total: u64| {
        move |usage: &mut Usage| (usage.total, usage.used, usage.available) = (Bytes(total), Bytes(0), Bytes(total))
    };
    check(&|_| {}, "measured");
    // Within what metadata takes, and what a driver rounds up.
    check(&sized(9 * GIB), "measured");
    check(&sized(11 * GIB), "measured");
    check(&sized(15 * GIB), "measured");
    check(&sized(15 * GIB + 1), "NotIsolated");
    check(&sized(250 * GIB), "NotIsolated");
    check(&sized(Bytes::MAX.0), "NotIsolated");
    check(&sized(Bytes::MAX.0 + 1), "Implausible");
    check(&|usage| usage.shared = true, "NotIsolated");
    // An eighth and the log of a small XFS may be missing, and no more.
    let least = 10 * GIB - 10 * GIB / 8 - (64 << 20);
    check(&sized(least), "measured");
    check(&sized(least - 1), "Behind");
    // The filesystem of before a step of 20 %.
    check(&sized(8 * GIB + GIB / 3), "Behind");
    check(&sized(1), "Behind");
    check(&sized(0), "Implausible");
    check(&sized(u64::MAX), "Implausible");
    check(&|usage| usage.used = Bytes(11 * GIB), "Implausible");
    check(&|usage| usage.available = Bytes(6 * GIB), "Implausible");
    check(&|usage| usage.inodes = Some(Inodes { total: 1, free: 2 }), "Implausible");
    check(&|usage| usage.inodes = None, "measured");
    check(&|usage| usage.inodes = Some(Inodes { total: 2, free: 2 }), "measured");
    check(&|usage| (usage.used, usage.available) = (Bytes(10 * GIB), Bytes(0)), "measured");
    // What root keeps for itself is neither used nor available.
    check(&|usage| usage.available = Bytes(0), "measured");
}

#[test]
fn a_small_filesystem_may_lose_much_to_its_log() {
    let check = |capacity: Bytes, total: Bytes| {
        let claim = claim(0, capacity);
        let said = Usage { total, used: Bytes(0), available: total, ..usage(&claim, 0) };
        assert!(matches!(judge(said, &claim, Rate::default()), Reading::Measured { .. }), "{total} of {capacity}");
    };
    // XFS: the log takes 64 MiB.
    check(Bytes::mib(300), Bytes::mib(236));
    check(Bytes::gib(1), Bytes::mib(960));
    check(Bytes::mib(50), Bytes::mib(1));
}

#[test]
fn a_claim_that_cannot_be_judged_is_unknown() {
    let ten = claim(0, Bytes::gib(10));
    let check = |claim: Claim, expected: Unknown| {
        assert_eq!(judge(usage(&ten, 50), &claim, Rate::default()), Reading::Unknown(expected));
    };
    check(Claim { block_mode: true, ..ten.clone() }, Unknown::BlockMode);
    check(Claim { capacity: None, ..ten.clone() }, Unknown::BeforeGrowth);
}

#[test]
fn a_reading_counts_only_while_it_is_of_the_present_volume() {
    let check = |source: Source, now: i64, resized: Option<i64>, expected: Result<(), Unknown>| {
        let claim = Claim { resized_at: resized.map(at), ..claim(0, Bytes::gib(10)) };
        let usage = Usage { source, ..usage(&claim, 50) };
        let reading = Reading::Measured { usage, rate: Rate::default(), capacity: Bytes::gib(10) };
        assert_eq!(reading.current(&claim, at(now)).map(|_| ()), expected, "{source:?} {now} {resized:?}");
    };
    check(Source::Agent, 0, None, Ok(()));
    check(Source::Agent, 180, None, Ok(()));
    check(Source::Agent, 181, None, Err(Unknown::Stale));
    check(Source::Kubelet, 300, None, Ok(()));
    check(Source::Kubelet, 301, None, Err(Unknown::Stale));
    // A clock that ran back.
    check(Source::Agent, -3600, None, Ok(()));
    check(Source::Agent, 5, Some(0), Err(Unknown::BeforeGrowth));
    check(Source::Agent, 5, Some(3), Err(Unknown::BeforeGrowth));
    check(Source::Agent, 5, Some(-1), Ok(()));
    check(Source::Kubelet, 5, Some(-1), Err(Unknown::BeforeGrowth));
    check(Source::Kubelet, 5, Some(-119), Err(Unknown::BeforeGrowth));
    check(Source::Kubelet, 5, Some(-120), Ok(()));
    // A stamp from the future says nothing.
    check(Source::Agent, 5, Some(1_000_000), Ok(()));
}

#[test]
fn a_reading_does_not_age_while_nothing_runs_that_could_change_the_volume() {
    let check = |source: Source, ran: i64, now: i64, resized: Option<i64>, expected: Result<(), Unknown>| {
        let claim = Claim { resized_at: resized.map(at), ..claim(0, Bytes::gib(10)) };
        let usage = Usage { source, ..usage(&claim, 99) };
        let reading = Reading::Measured { usage, rate: Rate::default(), capacity: Bytes::gib(10) }.idle_since(at(ran));
        assert_eq!(reading.current(&claim, at(now)).map(|_| ()), expected, "{source:?} {ran} {now} {resized:?}");
    };
    let days = 9 * 86_400;
    check(Source::Agent, 0, days, None, Ok(()));
    check(Source::Agent, 180, days, None, Ok(()));
    check(Source::Agent, 181, days, None, Err(Unknown::Stale));
    check(Source::Kubelet, 300, days, None, Ok(()));
    check(Source::Kubelet, 301, days, None, Err(Unknown::Stale));
    // A moment that is still to come is now.
    check(Source::Agent, days, 10, None, Ok(()));
    // What has grown since is another volume.
    check(Source::Agent, 0, days, Some(60), Err(Unknown::BeforeGrowth));
}

#[test]
fn a_reading_of_another_capacity_is_from_before_the_growth() {
    let small = claim(0, Bytes::gib(10));
    let large = claim(0, Bytes::gib(12));
    assert_eq!(reading(&small, 85).current(&large, at(0)), Err(Unknown::BeforeGrowth));
}

#[test]
fn why_usage_is_unknown_is_explained_with_what_to_do() {
    let check = |unknown: Unknown, why: &str, what_to_do: &str| {
        let told = unknown.explained(&claim(0, Bytes::gib(10)));
        assert!(told.contains(why) && told.ends_with(what_to_do), "{told}");
    };
    check(Unknown::NoPod, "no Pod", "uses it");
    check(Unknown::NotYet, "just started", "wait a minute or two");
    let failing = Failing {
        namespace: "shop".to_owned(),
        pod: "db-0".to_owned(),
        part: Part::Container("db".to_owned()),
        reason: "CrashLoopBackOff".to_owned(),
        exit_code: Some(1),
        message: String::new(),
    };
    check(Unknown::NotRunning(Box::new(failing)), "container db: CrashLoopBackOff", "resize.data=15Gi");
    check(Unknown::BlockMode, "raw block volume", "request sizes with resize.<template>");
    check(
        Unknown::Silent("refused".to_owned()),
        "(refused)",
        "check the rso-agent container, or that the account of --kubelet-account may get nodes/stats",
    );
    check(Unknown::Stale, "too old", "check the rso-agent container");
    check(Unknown::BeforeGrowth, "before its expansion", "wait a minute or two");
    let behind = Unknown::Behind { total: Bytes::gib(8), capacity: Bytes::gib(10) };
    check(behind, "8Gi of the 10Gi", "restart the Pod so that the node expands the filesystem");
    check(Unknown::Implausible("0 of 0".to_owned()), "(0 of 0)", "check the rso-agent container of the Pod");
    check(Unknown::NotIsolated, "the node's disk", "expanding it has no effect");
}

#[test]
fn of_two_readings_that_say_alike_the_first_stays() {
    let (first, second) = (Reading::Unknown(Unknown::Stale), Reading::Unknown(Unknown::NoPod));
    assert_eq!(first.clone().fuller(second), first);
}

#[test]
fn of_several_pods_on_one_claim_the_fullest_counts() {
    let claim = claim(0, Bytes::gib(10));
    let unknown = || Reading::Unknown(Unknown::NoPod);
    let by_inodes = Reading::Measured {
        usage: Usage { inodes: Some(Inodes { total: 100, free: 5 }), ..usage(&claim, 10) },
        rate: Rate::default(),
        capacity: Bytes::gib(10),
    };
    let check = |a: Reading, b: Reading, expected: &Reading| {
        assert_eq!(&a.clone().fuller(b.clone()), expected);
        assert_eq!(&b.fuller(a), expected);
    };
    check(reading(&claim, 50), reading(&claim, 60), &reading(&claim, 60));
    check(unknown(), reading(&claim, 1), &reading(&claim, 1));
    check(reading(&claim, 90), by_inodes.clone(), &by_inodes);
    check(unknown(), unknown(), &unknown());
}

#[test]
fn the_next_look_comes_before_the_threshold_can_be_crossed() {
    let check = |percent: u64, fastest: u64, source: Source, seconds: u64| {
        let usage = Usage { source, ..usage(&claim(0, Bytes::gib(100)), percent) };
        assert_eq!(
            next_look(&usage, Percent::whole(80), fastest),
            Duration::from_secs(seconds),
            "{percent}% {fastest}"
        );
    };
    check(0, GIB, Source::Agent, 60);
    check(50, GIB, Source::Agent, 30);
    check(79, GIB, Source::Agent, 1);
    check(80, GIB, Source::Agent, 1);
    check(100, GIB, Source::Agent, 1);
    check(50, GIB, Source::Kubelet, 30);
    check(79, GIB, Source::Kubelet, 15);
    check(50, 0, Source::Agent, 60);
    check(0, 1, Source::Agent, 60);
}

#[test]
fn the_answer_of_an_agent_is_read() {
    let body = br#"[
        {"dir":"/a","pvc_name":"data-db-0","all_bytes":1000,"free_bytes":400,"available_bytes":350,"inodes":10,"inodes_free":3},
        {"dir":"/b","pvc_name":"wal-db-0","all_bytes":1000,"free_bytes":400,"new_field":{}},
        {"dir":"/c","pvc_name":"x-db-0","all_bytes":0,"free_bytes":0,"error":"failed to look at /c"},
        {"dir":"/d","pvc_name":"y-db-0","all_bytes":1,"free_bytes":2},
        {"dir":"/e","pvc_name":"z-db-0","all_bytes":1,"free_bytes":0,"shared":true},
        {"dir":"/f","pvc_name":""}
    ]"#;
    let read = read_agent(body, at(0)).expect("read");
    let expected = Usage {
        claim: "data-db-0".into(),
        total: Bytes(1000),
        used: Bytes(600),
        available: Bytes(350),
        inodes: Some(Inodes { total: 10, free: 3 }),
        shared: false,
        write_rate: None,
        at: at(0),
        source: Source::Agent,
    };
    let sparse = Usage { claim: "wal-db-0".into(), available: Bytes(400), inodes: None, ..expected.clone() };
    assert_eq!(read.len(), 5);
    assert_eq!(read[0].usage, Ok(expected));
    assert_eq!(read[1].usage, Ok(sparse));
    assert_eq!(read[2].usage, Err("failed to look at /c".to_owned()));
    assert_eq!(read[3].usage, Err("2 bytes free of 1".to_owned()));
    assert_eq!(read[4].usage.as_ref().map(|usage| usage.shared), Ok(true));
}

#[test]
fn the_answer_to_a_held_request_is_dated_by_its_wait() {
    let check = |fields: &str, held: bool, rate: Option<u64>, millisecond: i64| {
        let body = format!(r#"[{{"pvc_name":"data-db-0","all_bytes":10,"free_bytes":5{fields}}}]"#);
        let read = read_held(body.as_bytes(), at(0), Duration::from_secs(60)).expect("read");
        let usage = read.volumes[0].usage.as_ref().expect("measured");
        let dated = usage.at.as_millisecond() - at(0).as_millisecond();
        assert_eq!((read.is_held, usage.write_rate, dated), (held, rate, millisecond), "{fields}");
    };
    check("", false, None, 0);
    check(r#","rate_bytes":5000,"waited_ms":1234"#, true, Some(5_000), 1_234);
    check(r#","rate_bytes":0"#, true, Some(0), 0);
    check(r#","rate_bytes":18446744073709551615,"waited_ms":59999"#, true, Some(u64::MAX), 59_999);
    // No reading is from after the response.
    check(r#","rate_bytes":1,"waited_ms":60001"#, true, Some(1), 60_000);
    check(r#","rate_bytes":1,"waited_ms":18446744073709551615"#, true, Some(1), 60_000);
    // An older agent.
    check(r#","waited_ms":5"#, false, None, 5);
    for wrong in [r#","rate_bytes":-1"#, r#","rate_bytes":1.5"#, r#","waited_ms":null"#] {
        let body = format!(r#"[{{"pvc_name":"a"{wrong}}}]"#);
        assert!(read_held(body.as_bytes(), at(0), Duration::from_secs(1)).is_err(), "{wrong}");
    }
}

#[test]
fn a_hostile_answer_is_refused() {
    let check = |body: &[u8]| assert!(read_agent(body, at(0)).is_err(), "{:?}", String::from_utf8_lossy(body));
    for number in ["-1", "1.5", "\"1\"", "1e3", "18446744073709551616", "NaN", "null", "true", "[]"] {
        check(format!(r#"[{{"pvc_name":"a","all_bytes":{number},"free_bytes":0}}]"#).as_bytes());
    }
    check(b"");
    check(b"{}");
    check(b"[{}]");
    check(b"[");
    check(b"\xff\xfe");
    check("[".repeat(60_000).as_bytes());
    let shouting = format!(r#"[{{"pvc_name":"a","error":"{}"}}]"#, "a".repeat(60_000));
    let read = read_agent(shouting.as_bytes(), at(0)).expect("read");
    assert_eq!(read[0].usage.as_ref().err().map(String::len), Some(200));
}

#[test]
fn an_answer_is_read_up_to_its_longest_and_not_beyond() {
    // A body of that length, all of it JSON.
    let padded = |json: &str, length: usize| format!("{json}{}", " ".repeat(length - json.len())).into_bytes();
    let agent = |length| read_agent(&padded("[]", length), at(0)).map(drop);
    assert!(agent(64 << 10).is_ok());
    assert!(matches!(agent((64 << 10) + 1), Err(ReadError::TooLong(65_537, MAX_AGENT_BODY))));
    let kubelet = |length| read_summary(&padded("{}", length), at(0)).map(drop);
    assert!(kubelet(16 << 20).is_ok());
    assert!(matches!(kubelet((16 << 20) + 1), Err(ReadError::TooLong(_, MAX_SUMMARY_BODY))));
    // So is the name of a claim.
    let named = |length| read_agent(format!(r#"[{{"pvc_name":"{}"}}]"#, "a".repeat(length)).as_bytes(), at(0));
    assert_eq!([253, 254].map(|length| named(length).expect("read").len()), [1, 0]);
}

#[test]
fn the_summary_of_a_kubelet_is_read() {
    let body = br#"{
        "node": {"nodeName": "n"},
        "pods": [
            {"podRef": {"name": "db-0", "namespace": "a", "uid": "1"}, "volume": [
                {"time": "2026-01-01T00:00:00Z", "availableBytes": 350, "capacityBytes": 1000, "usedBytes": 600,
                 "inodesFree": 3, "inodes": 10, "inodesUsed": 7, "name": "data",
                 "pvcRef": {"name": "data-db-0", "namespace": "a"}, "volumeHealthStats": {"abnormal": false}},
                {"availableBytes": 1, "capacityBytes": 1, "usedBytes": 0, "name": "token"},
                {"availableBytes": 1, "capacityBytes": 1, "name": "wal", "pvcRef": {"name": "wal-db-0", "namespace": "a"}}
            ]},
            {"podRef": {"name": "no-volumes", "namespace": "b"}}
        ]
    }"#;
    let read = read_summary(body, at(0)).expect("read");
    let [volume] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!((volume.namespace.as_str(), volume.pod.as_str()), ("a", "db-0"));
    let expected = Usage {
        claim: "data-db-0".into(),
        total: Bytes(1000),
        used: Bytes(600),
        available: Bytes(350),
        inodes: Some(Inodes { total: 10, free: 3 }),
        shared: false,
        write_rate: None,
        at: "2026-01-01T00:00:00Z".parse().expect("a time"),
        source: Source::Kubelet,
    };
    assert_eq!(volume.usage, expected);
}

#[test]
fn a_kubelet_whose_clock_is_ahead_is_not_believed_about_the_time() {
    let body = br#"{"pods": [{"podRef": {"name": "p", "namespace": "a"}, "volume": [{"time": "2999-01-01T00:00:00Z",
        "availableBytes": 1, "capacityBytes": 1, "usedBytes": 0, "pvcRef": {"name": "c", "namespace": "a"}}]}]}"#;
    assert_eq!(read_summary(body, at(7)).expect("read")[0].usage.at, at(7));
}

#[test]
fn what_is_no_summary_is_refused() {
    let check = |body: &[u8]| assert!(read_summary(body, at(0)).is_err());
    check(b"");
    check(b"[]x");
    check(br#"{"pods": {}}"#);
    assert_eq!(read_summary(b"{}", at(0)).expect("an empty node"), []);
}
