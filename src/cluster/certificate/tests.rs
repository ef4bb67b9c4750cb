use super::*;

fn now() -> Timestamp {
    "2026-11-21T15:00:00Z".parse().unwrap()
}

fn secret(material: &Material) -> Value {
    json!({ "data": material.data() })
}

fn later(days: i64) -> Timestamp {
    plus_days(now(), days)
}

#[test]
fn an_issued_certificate_is_accepted_for_its_service_and_its_period() {
    let made = Material::issue("rso", "ns", now()).unwrap();
    assert_eq!(Material::read(&secret(&made)).unwrap(), made);
    let check = |service: &str, at: Timestamp, expected: bool| {
        assert_eq!(made.is_accepted(&made.bundle, service, "ns", at), expected, "{service} {at}");
    };
    check("rso", now(), true);
    check("other", now(), false);
    check("rso", later(-3), false);
    check("rso", later(89), true);
    check("rso", later(91), false);
    assert_eq!(made.days_left("rso", "ns", now()), Some(89));
    assert_eq!(made.days_left("rso", "ns", later(95)), None);
    let other = Material::issue("rso", "ns", now()).unwrap();
    assert!(!made.is_accepted(&other.bundle, "rso", "ns", now()));
    assert!(!format!("{made:?}").contains("KEY"));
}

#[test]
fn a_renewed_certificate_and_the_old_one_are_both_trusted_for_a_day() {
    let old = Material::issue("rso", "ns", now()).unwrap();
    let new = Material::issue("rso", "ns", later(61)).unwrap().trusting_also(&old.bundle);
    assert!(old.is_accepted(&new.bundle, "rso", "ns", later(61)), "a replica that still shows the old one");
    assert!(new.is_accepted(&new.bundle, "rso", "ns", later(61)));
    assert_eq!(next(Some(&secret(&new)), &new.bundle, "rso", "ns", later(61)), CertificateStep::UpToDate);
    let trimmed = match next(Some(&secret(&new)), &new.bundle, "rso", "ns", later(63)) {
        CertificateStep::Trim(trimmed) => trimmed,
        other @ (CertificateStep::UpToDate | CertificateStep::Renew { .. } | CertificateStep::Trust(_)) => {
            panic!("{other:?}")
        }
    };
    assert!(!old.is_accepted(&trimmed.bundle, "rso", "ns", later(63)));
    assert_eq!(
        next(Some(&secret(&trimmed)), &new.bundle, "rso", "ns", later(63)),
        CertificateStep::Trust(trimmed.bundle.clone())
    );
    assert_eq!(new.clone().trusting_also(&new.bundle), new, "no CA twice");
}

#[test]
fn a_missing_invalid_or_expiring_certificate_is_renewed() {
    let made = Material::issue("rso", "ns", now()).unwrap();
    let other = Material::issue("rso", "ns", now()).unwrap();
    let renews = |secret: Option<Value>, at: Timestamp| matches!(next(secret.as_ref(), &made.bundle, "rso", "ns", at), CertificateStep::Renew { before } if before == made.bundle);
    assert!(!renews(Some(secret(&made)), now()));
    assert!(renews(None, now()));
    assert!(renews(Some(json!({})), now()));
    assert!(renews(Some(json!({"data": {"tls.crt": "!", "tls.key": "", "ca.crt": ""}})), now()));
    assert!(renews(Some(secret(&Material { key: other.key.clone(), ..made.clone() })), now()), "another's key");
    assert!(renews(Some(secret(&Material { bundle: other.bundle, ..made.clone() })), now()), "another's CA");
    assert!(renews(Some(secret(&Material { chain: "junk".into(), ..made.clone() })), now()));
    assert!(!renews(Some(secret(&made)), later(58)));
    assert!(renews(Some(secret(&made)), later(61)));
    let moved = next(Some(&secret(&made)), &made.bundle, "renamed", "ns", now());
    assert!(matches!(moved, CertificateStep::Renew { .. }), "another Service");
}

#[test]
fn a_ca_bundle_with_other_cas_is_replaced() {
    let made = Material::issue("rso", "ns", now()).unwrap();
    let check = |trusted: &str, expected: CertificateStep| {
        assert_eq!(next(Some(&secret(&made)), trusted, "rso", "ns", now()), expected);
    };
    check("", CertificateStep::Trust(made.bundle.clone()));
    check("junk", CertificateStep::Trust(made.bundle.clone()));
    check(&made.bundle, CertificateStep::UpToDate);
}
