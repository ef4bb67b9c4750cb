use super::*;

const QUOTA: &str = "persistentvolumeclaims \"data-db-0\" is forbidden: exceeded quota: storage, requested: \
                     requests.storage=200Mi, used: requests.storage=1000Mi, limited: requests.storage=1150Mi";
const RANGE: &str = "persistentvolumeclaims \"data-db-0\" is forbidden: maximum storage usage per PersistentVolumeClaim \
                     is 450Mi, but request is 600Mi";
const POLICY: &str = "persistentvolumeclaims \"data-db-0\" is forbidden: ValidatingAdmissionPolicy 'cap' with binding \
                      'cap-all' denied request: exceeded quota: is what the author wrote";
const WEBHOOK: &str = "admission webhook \"validate.example.com\" denied the request: label team is missing";
const NOT_RESIZABLE: &str = "persistentvolumeclaims \"data-db-0\" is forbidden: only dynamically provisioned pvc can be \
                             resized and the storageclass that provisions the pvc must support resize";

fn kind(message: &str) -> String {
    match Refusal::read(message).kind {
        Kind::StorageQuota(quota) => format!("storage quota {} {} {}", quota.name, quota.resource, quota.room()),
        Kind::ObjectQuota(quota) => format!("object quota {} {}", quota.name, quota.resource),
        Kind::LimitRange { max } => format!("limit range {max:?}"),
        Kind::Policy { name, binding } => format!("policy {name} {binding}"),
        Kind::Webhook { name } => format!("webhook {name}"),
        Kind::Lowered { to } => format!("lowered to {to}"),
        Kind::TooLong { part } => format!("too long {part}"),
        Kind::NotResizable => "not resizable".to_owned(),
        Kind::Rights => "rights".to_owned(),
        Kind::Invalid => "invalid".to_owned(),
        Kind::Other => "other".to_owned(),
    }
}

#[test]
fn a_refusal_is_sorted_by_the_words_of_the_server() {
    let check = |message: &str, expected: &str| assert_eq!(kind(message), expected, "{message}");
    check(QUOTA, "storage quota storage requests.storage 150Mi");
    check(
        "x is forbidden: exceeded quota: q, requested: fast.storageclass.storage.k8s.io/requests.storage=2Gi,requests.storage=2Gi, \
         used: fast.storageclass.storage.k8s.io/requests.storage=9Gi,requests.storage=9Gi, \
         limited: fast.storageclass.storage.k8s.io/requests.storage=10Gi,requests.storage=9728Mi",
        "storage quota q requests.storage 512Mi",
    );
    check(
        "failed to create statefulsets shop/db: refused by the cluster: statefulsets.apps \"db\" is forbidden: exceeded \
         quota: objects, requested: count/statefulsets.apps=1, used: count/statefulsets.apps=2, limited: count/statefulsets.apps=2",
        "object quota objects count/statefulsets.apps",
    );
    // If storage and a number of objects are exceeded, storage counts, even with more room left.
    check(
        "exceeded quota: q, requested: persistentvolumeclaims=1,requests.storage=2Gi, used: persistentvolumeclaims=3,requests.storage=9Gi, \
         limited: persistentvolumeclaims=3,requests.storage=10Gi",
        "storage quota q requests.storage 1Gi",
    );
    check(&QUOTA.replace("1150Mi", "1.5Gi; try again"), "storage quota storage requests.storage 536Mi");
    check(RANGE, &format!("limit range {:?}", Some(Bytes::mib(450))));
    check(
        "[maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi]",
        "limit range Some(Bytes(1073741824))",
    );
    check(POLICY, "policy cap cap-all");
    check("policy 'low' with binding 'low-all' denied request: error applying patch", "policy low low-all");
    check(WEBHOOK, "webhook validate.example.com");
    check("Internal error occurred: failed calling webhook \"a.b\": timeout", "webhook a.b");
    check(
        "StatefulSet.apps \"db\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes",
        "too long metadata.annotations",
    );
    check("ConfigMap \"b\" is invalid: []: Too long: may not be more than 1048576 bytes", "too long the whole");
    check(NOT_RESIZABLE, "not resizable");
    check("storageclass.storage.k8s.io \"fast\" not found", "not resizable");
    check("failed to patch x: not allowed; grant the verb patch on y: z", "rights");
    check(
        "configmaps is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \"configmaps\"",
        "rights",
    );
    check("PersistentVolumeClaim \"x\" is invalid: spec: too small", "invalid");
    check("exceeded quota: half of a sentence", "other");
    check("exceeded quota: q, requested: a=b, used: a=c, limited: a=d", "other");
    check("", "other");
}

#[test]
fn an_error_that_only_resembles_a_known_refusal_is_other() {
    let check = |message: &str| assert_eq!(kind(message), "other", "{message}");
    check("storageclass.storage.k8s.io \"fast\" is being deleted");
    check("namespaces \"shop\" not found");
    check("User \"alice\" is suspended");
    check("a volume cannot shrink");
}

#[test]
fn the_advice_fits_the_refusal() {
    let check = |message: &str, reason: Reason, advice: &str| {
        let refusal = Refusal::read(message);
        assert_eq!(refusal.reason(), reason, "{message}");
        assert!(refusal.advice().contains(advice), "{}", refusal.advice());
    };
    check(QUOTA, Reason::QuotaExceeded, "raise requests.storage in ResourceQuota storage to at least 1200Mi");
    check(
        "exceeded quota: objects, requested: count/statefulsets.apps=1, used: count/statefulsets.apps=2, limited: count/statefulsets.apps=2",
        Reason::QuotaExceeded,
        "raise count/statefulsets.apps in ResourceQuota objects to at least 3",
    );
    check(RANGE, Reason::MaxSizeReached, "ask for at most 450Mi");
    check(POLICY, Reason::ExpansionInfeasible, "admission policy cap");
    check(WEBHOOK, Reason::ExpansionInfeasible, "admission webhook validate.example.com");
    check(
        "a: metadata.annotations: Too long: x",
        Reason::ExpansionInfeasible,
        "make metadata.annotations of the object",
    );
    check(NOT_RESIZABLE, Reason::StorageClassNotExpandable, "allowVolumeExpansion");
    check("no", Reason::ExpansionInfeasible, "allow it");
}

#[test]
fn the_words_are_the_servers_without_the_name_of_the_object() {
    let check = |message: &str, expected: &str| assert_eq!(Refusal::read(message).words, expected);
    check("persistentvolumeclaims \"data-db-0\" is forbidden: exceeded quota: q", "exceeded quota: q");
    check("PersistentVolumeClaim \"x\" is invalid: spec: too small", "spec: too small");
    check(WEBHOOK, WEBHOOK);
}

#[test]
fn the_largest_smaller_size_is_what_the_server_allows_or_else_half() {
    let check = |message: &str, requested: u64, capacity: u64, wanted: u64, expected: Option<u64>| {
        let smaller = Refusal::read(message).smaller(Bytes::mib(requested), Bytes::mib(capacity), Bytes::mib(wanted));
        assert_eq!(smaller, expected.map(Bytes::mib), "{message} {requested} {capacity} {wanted}");
    };
    check(QUOTA, 400, 400, 600, Some(550));
    // A quota that is no whole number of MiB.
    check(
        &QUOTA.replace("limited: requests.storage=1150Mi", "limited: requests.storage=1205862401"),
        400,
        400,
        600,
        Some(550),
    );
    // The driver made more than was requested, and the quota has no room beyond that.
    check(QUOTA, 400, 560, 600, None);
    check(QUOTA, 400, 400, 550, None);
    check(RANGE, 400, 400, 600, Some(450));
    check(RANGE, 450, 450, 600, None);
    // A hundredth of the volume is worth it, less is not.
    check(RANGE, 445, 445, 600, Some(450));
    check(RANGE, 446, 446, 600, None);
    check(POLICY, 400, 400, 600, Some(500));
    check(WEBHOOK, 400, 400, 402, None);
    check(NOT_RESIZABLE, 400, 400, 600, None);
}

#[test]
fn advice_names_the_binding_of_a_policy_where_the_server_does() {
    let check = |message: &str, expected: &str| assert_eq!(Refusal::read(message).advice(), expected, "{message}");
    let whole = "do what admission policy cap asks for, or exempt the operator's ServiceAccount in it";
    check(POLICY, &format!("{whole} or in its binding cap-all"));
    check("ValidatingAdmissionPolicy 'cap' denied request: no", whole);
}

#[test]
fn refusals_of_different_origin_are_different_cases() {
    let check = |message: &str, expected: &str| assert_eq!(Refusal::read(message).case(), expected, "{message}");
    check(QUOTA, "quota storage requests.storage");
    check(&QUOTA.replace("1000Mi", "1010Mi"), "quota storage requests.storage");
    check(RANGE, "limit-range");
    check(POLICY, "policy cap cap-all");
    check(WEBHOOK, "webhook validate.example.com");
    check(NOT_RESIZABLE, "not-resizable");
    check(
        "x is invalid: metadata.annotations: Too long: may not be more than 262144 bytes",
        "too-long metadata.annotations",
    );
    check("failed to patch x: not allowed; grant the verb patch on y: z", "rights");
    check("PersistentVolumeClaim \"x\" is invalid: spec: too small", "invalid");
    check("no", "other");
    assert_eq!(Refusal::lowered(Bytes::mib(450)).case(), "lowered");
}

proptest::proptest! {
    #[test]
    fn any_words_are_read_and_a_smaller_size_is_between(
        message in "(exceeded quota: q, requested: requests.storage=[0-9]{1,19}, used: requests.storage=[0-9]{1,19}, limited: requests.storage=[0-9]{1,19}|maximum storage usage per PersistentVolumeClaim is [0-9A-Za-z]{0,8}|.{0,60})",
        requested: u64,
        capacity: u64,
        wanted: u64,
    ) {
        let refusal = Refusal::read(&message);
        if let Some(size) = refusal.smaller(Bytes(requested), Bytes(capacity), Bytes(wanted)) {
            proptest::prop_assert!(size.0 > requested.max(capacity) && size.0 < wanted);
        }
        proptest::prop_assert!(!refusal.advice().is_empty());
    }
}
