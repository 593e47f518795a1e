//! That the quickstart sees what it looks for: evidence of each fault has to be found, and good evidence accepted.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(dead_code, reason = "the quickstart uses the rest")]

#[path = "../quickstart/check.rs"]
mod check;
#[path = "../quickstart/journal.rs"]
mod journal;
#[path = "../quickstart/kinds.rs"]
mod kinds;

use check::{ClientEvidence, Evidence, Findings};
use ibp_core::wire::TransactionId;
use journal::{Event, Journal, Record};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// The transaction of this number of the first client, or of the second from 100 on.
fn id(number: u8) -> TransactionId {
    let mut id = [number / 100; 16];
    id[15] = number;
    TransactionId(id)
}

fn record(number: u8, event: Event) -> Record {
    Record { transaction: id(number), event, kind: 0, nanoseconds: 1_000 }
}

/// What two clients, the second of which was killed, and two platforms wrote.
fn examine(apps: [&[(u8, Event)]; 2], clients: [&[(u8, Event)]; 2]) -> Findings {
    let records = |events: &[(u8, Event)]| events.iter().map(|(id, event)| record(*id, *event)).collect();
    let client = |number: usize| ClientEvidence {
        first: id(number as u8 * 100),
        was_killed: number == 1,
        journal: records(clients[number]),
    };
    let evidence = Evidence {
        apps: apps.iter().map(|events| records(events)).collect(),
        clients: vec![client(0), client(1)],
        ..Evidence::default()
    };
    evidence.examine().unwrap()
}

const RAN: [(u8, Event); 2] = [(1, Event::Begin), (1, Event::End)];

#[test]
fn good_evidence_is_accepted() {
    let findings = examine(
        [
            &[(1, Event::Begin), (2, Event::Begin), (1, Event::End), (100, Event::Begin)],
            &[(4, Event::Begin), (4, Event::End), (101, Event::Begin), (101, Event::End)],
        ],
        [
            &[
                (1, Event::Right),
                (2, Event::Suspicious),
                (2, Event::SaysRunning),
                (2, Event::SaysAborted),
                (3, Event::NotSent),
                (3, Event::SaysUnknown),
                (3, Event::SaysUnknown),
                (4, Event::Suspicious),
                (4, Event::SaysUnknown),
                (4, Event::SaysExecuted),
            ],
            &[],
        ],
    );
    assert_eq!(findings.contradictions, Vec::<String>::new());
    assert_eq!((findings.transactions(), findings.failed.len()), (4, 3));
    assert_eq!((findings.cut_off, findings.cut_off_finished), (2, 1));
}

#[test]
fn each_contradiction_is_found() {
    use Event::*;
    /// What is claimed, what the client recorded, what the app recorded.
    type Case<'a> = (&'a str, &'a [(u8, Event)], &'a [(u8, Event)]);
    let cases: &[Case<'_>] = &[
        ("no app has ended it", &[(1, Begin)], &[(1, Right)]),
        ("no app has ended it", &[], &[(1, Responded)]),
        ("a wrong answer", &RAN, &[(1, Wrong)]),
        ("hung", &RAN, &[(1, Hung)]),
        ("an app began it", &[(1, Begin)], &[(1, NotSent)]),
        ("began 2 times", &[(1, Begin), (1, Begin), (1, End)], &[(1, Right)]),
        ("ended 2 times", &[(1, Begin), (1, End), (1, End)], &[(1, Right)]),
        ("account of it twice", &RAN, &[(1, Right), (1, Right)]),
        ("no client gives account", &RAN, &[]),
        ("says executed", &[(1, Begin)], &[(1, Suspicious), (1, SaysExecuted)]),
        ("says rejected", &[(1, Begin)], &[(1, Suspicious), (1, SaysRejected)]),
        ("says that an app began", &[], &[(1, NotSent), (1, SaysRunning)]),
        ("does not know it", &RAN, &[(1, Suspicious), (1, SaysUnknown), (1, SaysUnknown)]),
        ("says it runs", &RAN, &[(1, Suspicious), (1, SaysRunning), (1, SaysRunning)]),
        ("does not say what became", &RAN, &[(1, Suspicious), (1, SaysNothing), (1, SaysNothing)]),
    ];
    for (wanted, app, client) in cases {
        let found = examine([app, &[]], [client, &[]]).contradictions;
        assert!(found.iter().any(|what| what.contains(wanted)), "{wanted:?} is not in {found:?}");
    }
}

#[test]
fn executed_on_two_platforms_is_found() {
    let found = examine([&RAN, &RAN], [&[(1, Event::Right)], &[]]).contradictions;
    assert!(found.iter().any(|what| what.contains("began 2 times")), "{found:?}");
}

#[test]
fn a_killed_client_cannot_have_had_more_on_its_way_than_it_has_threads() {
    let many: Vec<_> = (100..100 + kinds::KINDS.len() as u8).map(|id| (id, Event::Begin)).collect();
    assert_eq!(examine([&many, &[]], [&[], &[]]).contradictions, Vec::<String>::new());
    let more: Vec<_> = (100..101 + kinds::KINDS.len() as u8).map(|id| (id, Event::Begin)).collect();
    assert_eq!(examine([&more, &[]], [&[], &[]]).contradictions.len(), 1);
}

#[test]
fn a_journal_comes_back_as_it_was_written_and_a_damaged_one_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    let records = [record(1, Event::Begin), record(200, Event::SaysNothing)];
    for record in records {
        journal.append(record).unwrap();
    }
    assert_eq!(journal::read(&path).unwrap(), records);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(journal::read(&path).is_err(), "cut");
    std::fs::write(&path, vec![99; bytes.len()]).unwrap();
    assert!(journal::read(&path).is_err(), "an event that there is not");
}
