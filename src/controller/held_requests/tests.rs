use super::*;

fn set(name: &str) -> SetName {
    SetName::new("shop", name)
}

fn pod(uid: &str, agent: Option<u8>) -> PodView {
    PodView {
        namespace: "shop".to_owned(),
        name: "db-0".to_owned(),
        uid: uid.to_owned(),
        node: None,
        agent: agent.map(|last| SocketAddr::from(([10, 0, 0, last], 1_251))),
        claims: Vec::new(),
        ran: None,
        failing: None,
        failures: Vec::new(),
        started: None,
        young: false,
    }
}

fn ask(full: u32, room: u64) -> Question {
    Question { full: Percent::whole(full), room }
}

/// The requests that were sent.
struct Sent(mpsc::UnboundedReceiver<HeldRequest>);

impl Sent {
    fn next(&mut self) -> Option<HeldRequest> {
        self.0.try_recv().ok()
    }
}

fn requests(limit: usize) -> (HeldRequests, Sent) {
    let held = HeldRequests::with_limit(limit);
    let sent = Sent(held.receiver().expect("the first"));
    assert!(held.receiver().is_none());
    (held, sent)
}

fn has_ended(request: &HeldRequest) -> bool {
    request.abort.handle().is_aborted()
}

const FIRST: Ordinal = Ordinal(0);

#[test]
fn the_same_request_is_opened_once_and_another_one_replaces_it() {
    let (held, mut sent) = requests(9);
    let open = |pod: &PodView, question| assert_eq!(held.open(&set("db"), FIRST, pod, question), Placed::Open);
    open(&pod("a", Some(1)), ask(80, 5));
    let first = sent.next().expect("sent");
    assert_eq!((first.full, first.delay), (Percent::whole(80), Duration::from_secs(1)), "a second after the poll");
    open(&pod("a", Some(1)), ask(80, 7));
    assert!(sent.next().is_none() && !has_ended(&first));
    for (pod, question) in
        [(pod("a", Some(1)), ask(81, 5)), (pod("b", Some(1)), ask(81, 5)), (pod("b", Some(2)), ask(81, 5))]
    {
        open(&pod, question);
        let next = sent.next().expect("sent");
        assert!(!has_ended(&next) && !held.again(&first, ask(80, 1)), "the first was replaced");
        assert_eq!((next.full, next.uid.as_str(), Some(next.agent)), (question.full, pod.uid.as_str(), pod.agent));
    }
    assert!(has_ended(&first));
    assert_eq!(held.lock().by_room.len(), 1);
}

#[test]
fn a_pod_without_an_agent_holds_nothing() {
    let (held, mut sent) = requests(9);
    assert_eq!(held.open(&set("db"), FIRST, &pod("a", None), ask(80, 5)), Placed::Full);
    assert!(sent.next().is_none());
}

#[test]
fn of_too_many_requests_those_with_the_most_room_give_way() {
    let (held, mut sent) = requests(2);
    let open = |name: &str, room| held.open(&set(name), FIRST, &pod(name, Some(1)), ask(80, room));
    assert_eq!((open("a", 10), open("b", 30)), (Placed::Open, Placed::Open));
    let (a, b) = (sent.next().expect("sent"), sent.next().expect("sent"));
    assert_eq!(open("c", 30), Placed::Full, "no nearer than the farthest");
    assert_eq!(open("c", 20), Placed::Instead((set("b"), FIRST)));
    assert!(has_ended(&b) && !has_ended(&a));
    let c = sent.next().expect("sent");
    // What is nearer now counts.
    assert!(held.again(&a, ask(80, 99)));
    assert_eq!(open("d", 50), Placed::Instead((set("a"), FIRST)));
    held.ended(&c);
    assert_eq!(open("e", 1_000), Placed::Open);
    assert_eq!(held.lock().by_room.len(), 2);
}

#[test]
fn what_has_changed_ends_or_replaces_a_request_at_once() {
    let check = |now: Option<PodView>, question: Option<Question>, ended: &[Ordinal], replaced: Option<u32>| {
        let (held, mut sent) = requests(9);
        held.open(&set("db"), FIRST, &pod("a", Some(1)), ask(80, 5));
        let first = sent.next().expect("sent");
        let context = format!("{now:?} {question:?}");
        assert_eq!(held.review(&set("db"), |_| now.clone(), |_| question), ended, "{context}");
        assert_eq!(sent.next().map(|next| next.full), replaced.map(Percent::whole), "{context}");
        assert_eq!(has_ended(&first), !ended.is_empty() || replaced.is_some(), "{context}");
        assert_eq!(held.lock().by_room.len(), usize::from(ended.is_empty()), "{context}");
    };
    let same = || Some(pod("a", Some(1)));
    check(same(), Some(ask(80, 4)), &[], None);
    // The threshold was lowered.
    check(same(), Some(ask(50, 4)), &[], Some(50));
    check(same(), None, &[FIRST], None);
    check(None, Some(ask(80, 4)), &[FIRST], None);
    check(Some(pod("b", Some(1))), Some(ask(80, 4)), &[FIRST], None);
    check(Some(pod("a", Some(2))), Some(ask(80, 4)), &[FIRST], None);
    check(Some(pod("a", None)), Some(ask(50, 4)), &[FIRST], None);
}

#[test]
fn a_statefulset_that_is_forgotten_has_no_requests() {
    let (held, mut sent) = requests(9);
    for ordinal in 0..3 {
        held.open(&set("db"), Ordinal(ordinal), &pod("a", Some(1)), ask(80, 5));
    }
    held.open(&set("other"), FIRST, &pod("a", Some(1)), ask(80, 5));
    held.end(&set("db"), FIRST);
    held.forget(&set("db"));
    let ended: Vec<bool> = std::iter::from_fn(|| sent.next()).map(|request| has_ended(&request)).collect();
    assert_eq!(ended, [true, true, true, false]);
    let open = held.lock();
    assert_eq!((open.by_room.len(), open.sets.len()), (1, 1));
}
