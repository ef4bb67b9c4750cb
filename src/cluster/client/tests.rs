use super::*;

fn a_call() -> Call {
    call("delete", &resources::STATEFUL_SETS, None, "statefulsets shop/db".into(), Effect::Writes)
}

#[test]
fn a_dry_delete_says_so_in_its_body() {
    let only = Precondition { uid: Some("u-1".into()), resource_version: Some("7".into()) };
    assert_eq!(
        delete_options(Dependents::Orphan, &only, Run::Dry),
        json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Orphan", "dryRun": ["All"],
            "preconditions": {"uid": "u-1", "resourceVersion": "7"},
        })
    );
    assert_eq!(
        delete_options(Dependents::Background, &Precondition::default(), Run::Real),
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
    );
}

#[test]
fn the_two_meanings_of_409_are_told_apart() {
    let check = |reason: &str, expected: Outcome<Value>| {
        let status = Status::failure("words", reason).with_code(409);
        assert_eq!(outcome(a_call(), &status, None).unwrap(), expected, "{reason}");
    };
    check("AlreadyExists", Outcome::AlreadyExists);
    check("Conflict", Outcome::Conflict("words".into()));
    check("", Outcome::Conflict("words".into()));
}

#[test]
fn patience_is_read_from_the_header_or_else_from_the_status() {
    let check = |header: Option<&'static str>, own: u32, expected: Option<u64>| {
        let mut headers = http::HeaderMap::new();
        if let Some(value) = header {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        }
        let mut status = Status::failure("busy", "TooManyRequests").with_code(429);
        let details = json!({"retryAfterSeconds": own});
        status.details = Some(serde_json::from_value(details).unwrap());
        let error = outcome(a_call(), &status, retry_after(&headers)).unwrap_err();
        assert_eq!(error.class(), Class::Retry { after: expected.map(Duration::from_secs) });
    };
    check(Some("7"), 0, Some(7));
    check(Some("7"), 9, Some(7));
    check(None, 9, Some(9));
    check(Some("Fri, 31 Dec 1999 23:59:59 GMT"), 0, None);
    check(Some("99999"), 0, Some(60));
    check(None, 0, None);
}

#[test]
fn an_answer_that_is_no_status_keeps_its_first_words() {
    let read = status(StatusCode::BAD_GATEWAY, b" <html>bad gateway</html>\n");
    assert_eq!((read.code, read.message.as_str()), (502, "<html>bad gateway</html>"));
    let lying = status(StatusCode::BAD_GATEWAY, br#"{"kind":"Status","code":404,"message":"gone"}"#);
    assert_eq!(lying.code, 502);
}

#[test]
fn a_right_is_named_as_rbac_names_it() {
    let check = |resource: &Resource, part: Option<&str>, expected: &str| {
        assert_eq!(call("get", resource, part, String::new(), Effect::Looks).resource, expected);
    };
    check(&resources::CLAIMS, None, "persistentvolumeclaims");
    check(&resources::STATEFUL_SETS, Some("status"), "statefulsets/status.apps");
}
