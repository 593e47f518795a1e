use std::collections::HashSet;
use std::io::Write;

use ibp_core::wire::{AbortReason, Execution, Outcome, RejectReason};

use crate::peer::{Peer, Said, new_id, short};
use crate::served::{Served, Wanted, until};

crate::tests!(
    short_and_long_connections_echo,
    two_calls_in_parallel_run_in_two_processes,
    load_counts_busy_workers_of_all_and_the_asking_one,
    a_request_that_comes_byte_by_byte_is_answered,
    pipelined_requests_are_answered_in_order,
    what_cannot_run_is_rejected_with_its_reason,
    outcomes_are_remembered_and_told,
    the_unix_socket_serves_as_the_port_does,
    answers_longer_than_the_socket_takes_arrive_whole,
);

fn short_and_long_connections_echo() {
    let served = Served::start(&Wanted::default());
    let mut long = Peer::connect(served.address);
    for length in [0, 1, 128, 4_096, 70_000, 3 << 20] {
        let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        assert!(long.ask("echo", &body) == body, "long, {length}");
        let Said::Answer { execution, body: answer, .. } = short(served.address, "echo", &body) else {
            panic!("no answer")
        };
        assert_eq!(execution, Execution::Executed(length));
        assert!(answer == body, "short, {length}");
    }
}

fn two_calls_in_parallel_run_in_two_processes() {
    let served = Served::start(&Wanted { workers: 2, ..Wanted::default() });
    let pids: HashSet<Vec<u8>> = until(std::time::Duration::from_secs(10), "two workers to answer", || {
        let mut sleeper = Peer::connect(served.address);
        sleeper.send("sleep", b"50", false);
        let mut pids = HashSet::new();
        let mut asking = Peer::connect(served.address);
        pids.insert(asking.ask("pid", b""));
        sleeper.hear();
        let mut others = [Peer::connect(served.address), Peer::connect(served.address)];
        others[0].send("sleep", b"50", false);
        pids.insert(others[1].ask("pid", b""));
        others[0].hear();
        (pids.len() == 2).then_some(pids)
    });
    let (_, _, workers) = served.processes();
    for pid in pids {
        assert!(workers.contains(&String::from_utf8(pid).unwrap().parse().unwrap()));
    }
}

fn load_counts_busy_workers_of_all_and_the_asking_one() {
    let served = Served::start(&Wanted { workers: 4, ..Wanted::default() });
    let load = |peer: &mut Peer| match peer.call("pid", b"") {
        Said::Answer { load, .. } => (load.busy, load.workers),
        other => panic!("{other:?}"),
    };
    let mut asking = Peer::connect(served.address);
    until(std::time::Duration::from_secs(5), "the other workers to be idle", || {
        (load(&mut asking) == (1, 4)).then_some(())
    });
    let mut sleepers: Vec<Peer> = (0..3).map(|_| Peer::connect(served.address)).collect();
    for sleeper in &mut sleepers {
        sleeper.send("sleep", b"600", false);
    }
    until(std::time::Duration::from_millis(500), "three sleepers and the asking one", || {
        (load(&mut asking) == (4, 4)).then_some(())
    });
    for sleeper in &mut sleepers {
        sleeper.hear();
    }
}

fn a_request_that_comes_byte_by_byte_is_answered() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    for round in 0..3 {
        let body = format!("round {round}");
        let bytes = peer.request("echo", body.as_bytes(), new_id(), false);
        for byte in bytes {
            peer.stream.write_all(&[byte]).unwrap();
            peer.stream.flush().unwrap();
            // Each byte is a visit of its own, most likely by another worker.
            std::thread::yield_now();
        }
        match peer.hear() {
            Said::Answer { body: answer, .. } => assert_eq!(answer, body.as_bytes()),
            other => panic!("{other:?}"),
        }
    }
}

fn pipelined_requests_are_answered_in_order() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    let mut flight = Vec::new();
    for n in 0..100_u32 {
        flight.extend(peer.request("echo", &n.to_le_bytes(), new_id(), n == 99));
    }
    let (first, second) = flight.split_at(flight.len() - 7);
    peer.stream.write_all(first).unwrap();
    for n in 0..99_u32 {
        match peer.hear() {
            Said::Answer { body, .. } => assert_eq!(body, n.to_le_bytes()),
            other => panic!("{n}: {other:?}"),
        }
    }
    peer.stream.write_all(second).unwrap();
    assert!(matches!(peer.hear(), Said::Answer { body, .. } if body == 99_u32.to_le_bytes()));
    assert_eq!(peer.hear(), Said::End);
}

fn what_cannot_run_is_rejected_with_its_reason() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    match peer.call("no_such_app", b"") {
        Said::Answer { execution, body, .. } => {
            assert_eq!(execution, Execution::Rejected(RejectReason::UnknownApp));
            assert_eq!(body, b"the platform has no such app");
        }
        other => panic!("{other:?}"),
    }
    // The connection goes on.
    assert_eq!(peer.ask("echo", b"x"), b"x");
}

fn outcomes_are_remembered_and_told() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    let id = new_id();
    let bytes = peer.request("echo", b"12345", id, false);
    peer.stream.write_all(&bytes).unwrap();
    peer.hear();
    let mut asking = Peer::connect(served.address);
    let told = |said| match said {
        Said::Outcome { outcome, horizon_ms } => (outcome, horizon_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(asking.outcome(id)).0, Outcome::Ended(Execution::Executed(5)));
    assert_eq!(told(asking.outcome(new_id())).0, Outcome::Unknown);

    let running = new_id();
    let bytes = peer.request("sleep", b"400", running, false);
    peer.stream.write_all(&bytes).unwrap();
    until(std::time::Duration::from_secs(5), "the app to run", || {
        (told(asking.outcome(running)).0 == Outcome::Running).then_some(())
    });
    peer.hear();
    assert_eq!(told(asking.outcome(running)).0, Outcome::Ended(Execution::Executed(0)));

    let killed = new_id();
    let bytes = peer.request("kill", b"", killed, false);
    peer.stream.write_all(&bytes).unwrap();
    peer.hear();
    let outcome = told(asking.outcome(killed)).0;
    assert_eq!(outcome, Outcome::Ended(Execution::Aborted(AbortReason::WorkerDied)));
}

fn the_unix_socket_serves_as_the_port_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    let wanted = Wanted { unix: Some(path.clone()), ..Wanted::default() };
    let served = Served::start(&wanted);
    let mut long = Peer::connect_unix(&path);
    for length in [0, 128, 4_096, 500_000] {
        let body = vec![7; length];
        assert!(long.ask("echo", &body) == body);
        let mut short = Peer::connect_unix(&path);
        short.send("echo", &body, true);
        assert!(matches!(short.hear(), Said::Answer { body: answer, .. } if answer == body));
        assert_eq!(short.hear(), Said::End);
    }
    served.signal(rustix::process::Signal::TERM);
    let (status, _) = served.end();
    assert!(status.success());
    assert!(!path.exists(), "the socket file is removed");
}

fn answers_longer_than_the_socket_takes_arrive_whole() {
    let served = Served::start(&Wanted { workers: 1, ..Wanted::default() });
    let mut slow = Peer::connect(served.address);
    slow.send("big", b"30000000", false);
    // The only worker is free again although nobody has read the answer.
    let mut other = Peer::connect(served.address);
    assert_eq!(other.ask("echo", b"y"), b"y");
    match slow.hear() {
        Said::Answer { body, .. } => {
            assert_eq!(body.len(), 30_000_000);
            assert!(body.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(slow.ask("echo", b"after"), b"after");
}
