//! What must hold of the query of a held request, which any client in the cluster can send?

use rso::api::held::HeldQuery;
use rso::api::percent::Percent;

/// Any query.
pub fn a_query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let names = |name: &str| text.split('&').filter(|part| part.split('=').next() == Some(name)).count();
    match HeldQuery::parse(&text) {
        Ok(Some(query)) => {
            assert!((1..=HeldQuery::MAX_WAIT).contains(&query.wait), "a wait of {} s", query.wait);
            assert!(Percent(0) < query.full && query.full <= Percent::whole(100), "a share of {}", query.full);
            assert_eq!((names("wait"), names("full")), (1, 1), "a parameter that occurs twice or never");
            assert_eq!(HeldQuery::parse(&query.to_string()), Ok(Some(query)), "what is printed is parsed back");
        }
        // What older operators and other clients send stays valid.
        Ok(None) => assert_eq!((names("wait"), names("full")), (0, 0), "a parameter that was ignored"),
        Err(_) => assert!(names("wait") + names("full") > 0, "an ordinary request was rejected"),
    }
}
