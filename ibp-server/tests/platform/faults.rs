use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ibp_core::wire::{AbortReason, Execution, Outcome};
use rustix::process::{Pid, Signal, kill_process};

use crate::peer::{Peer, Said, new_id, short, sleeping};
use crate::served::{Served, Wanted, children, is_alive, until};

crate::tests!(
    a_worker_that_dies_in_a_call_answers_aborted_at_once,
    a_panic_is_answered_aborted_and_the_worker_replaced,
    an_app_that_runs_too_long_is_ended,
    killing_any_worker_a_thousand_times_hangs_nobody,
    a_killed_keeper_is_replaced_with_its_worker,
    a_dead_manager_takes_no_more_connections_and_a_restart_takes_the_port,
    a_worker_that_dies_at_start_is_retried_with_a_growing_pause,
    descriptors_that_an_app_leaks_do_not_end_the_service,
    a_stopped_worker_delays_nobody_else,
    where_fetching_is_denied_connections_are_passed,
);

fn kill(pid: i32, signal: Signal) {
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

fn a_worker_that_dies_in_a_call_answers_aborted_at_once() {
    let served = Served::start(&Wanted::default());
    let aborted = Execution::Aborted(AbortReason::WorkerDied);
    // On a fresh connection, hello and request in one flight.
    let began = Instant::now();
    match short(served.address, "echo", b"") {
        Said::Answer { .. } => {}
        other => panic!("{other:?}"),
    }
    let mut fresh = Peer::connect(served.address);
    fresh.send("kill", b"", true);
    match fresh.hear() {
        Said::Answer { execution, body, .. } => {
            assert_eq!(execution, aborted);
            assert!(String::from_utf8(body).unwrap().contains("worker process died"));
        }
        other => panic!("{other:?}"),
    }
    // On one that has been served by others.
    let mut long = Peer::connect(served.address);
    for _ in 0..20 {
        long.ask("echo", b"x");
    }
    match long.call("kill", b"") {
        Said::Answer { execution, .. } => assert_eq!(execution, aborted),
        other => panic!("{other:?}"),
    }
    assert!(matches!(long.hear(), Said::Goodbye { last_taken: 21, .. }));
    assert_eq!(long.hear(), Said::End);
    println!("two deaths answered within {:?}", began.elapsed());
    // All four are there again.
    until(Duration::from_secs(5), "four workers", || (served.processes().2.len() == 4).then_some(()));
}

fn a_panic_is_answered_aborted_and_the_worker_replaced() {
    let served = Served::start(&Wanted { workers: 1, ..Wanted::default() });
    let mut peer = Peer::connect(served.address);
    let before = peer.ask("pid", b"");
    match peer.call("panic", b"") {
        Said::Answer { execution, body, .. } => {
            assert_eq!(execution, Execution::Aborted(AbortReason::AppPanicked));
            assert!(!body.starts_with(b"half"), "what the app had written is not sent");
        }
        other => panic!("{other:?}"),
    }
    // The connection goes on, with a new worker.
    assert_ne!(peer.ask("pid", b""), before);
}

fn an_app_that_runs_too_long_is_ended() {
    let served = Served::start(&Wanted { app_ms: 400, ..Wanted::default() });
    let id = new_id();
    let mut peer = Peer::connect(served.address);
    let bytes = peer.request("sleep", b"60000", id, false);
    std::io::Write::write_all(&mut peer.stream, &bytes).unwrap();
    match peer.hear() {
        Said::Answer { execution, .. } => {
            assert_eq!(execution, Execution::Aborted(AbortReason::AppTimeout));
        }
        other => panic!("{other:?}"),
    }
    match Peer::connect(served.address).outcome(id) {
        Said::Outcome { outcome, .. } => {
            assert_eq!(outcome, Outcome::Ended(Execution::Aborted(AbortReason::AppTimeout)));
        }
        other => panic!("{other:?}"),
    }
}

/// Tells the callers to stop when it is dropped.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills workers, the accepting one among them, under load of short and long connections. Each call must end in one
/// of the ways that a client can tell apart; none may hang.
fn killing_any_worker_a_thousand_times_hangs_nobody() {
    let served = Served::start(&Wanted::default());
    let address = served.address;
    let kills: usize = std::env::var("IBP_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let stop = AtomicBool::new(false);
    let (answered, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let (aborted, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let longest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (stop, answered, told, aborted, ended, longest) =
                (&stop, &answered, &told, &aborted, &ended, &longest);
            scope.spawn(move || {
                let mut peer = Peer::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let last = thread % 2 == 0;
                    if last {
                        peer = Peer::connect(address);
                    }
                    let began = Instant::now();
                    let body = began.elapsed().as_nanos().to_le_bytes();
                    let bytes = peer.request("echo", &body, new_id(), last);
                    let sent = std::io::Write::write_all(&mut peer.stream, &bytes);
                    let said = if sent.is_ok() { peer.try_hear() } else { Ok(Said::End) };
                    longest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
                    match said.expect("a call hangs or is answered with nonsense") {
                        Said::Answer { execution: Execution::Executed(_), body: answer, .. } => {
                            assert_eq!(answer, body);
                            answered.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        Said::Answer { .. } => aborted.fetch_add(1, Ordering::Relaxed),
                        Said::Goodbye { .. } => told.fetch_add(1, Ordering::Relaxed),
                        Said::End => ended.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other:?}"),
                    };
                    peer = Peer::connect(address);
                }
            });
        }
        // Also when an assertion below fails: the scope waits for the callers.
        let _stop = StopAtEnd(&stop);
        let (_, keepers, _) = served.processes();
        let mut replaced = Duration::ZERO;
        for n in 0..kills {
            let keeper = keepers[n % keepers.len()];
            let worker = until(Duration::from_secs(5), "a worker", || children(keeper).first().copied());
            kill(worker, Signal::KILL);
            let died = Instant::now();
            until(Duration::from_secs(5), "its successor", || {
                children(keeper).first().is_some_and(|now| *now != worker).then_some(())
            });
            replaced = replaced.max(died.elapsed());
        }
        println!("{kills} workers killed; longest until the next was there: {replaced:?}");
    });
    println!(
        "answered {}, GOODBYE {}, aborted {}, ended without a word {}; longest call {} ms",
        answered.load(Ordering::Relaxed),
        told.load(Ordering::Relaxed),
        aborted.load(Ordering::Relaxed),
        ended.load(Ordering::Relaxed),
        longest.load(Ordering::Relaxed)
    );
    assert!(answered.load(Ordering::Relaxed) > kills as u64);
    // Nothing is left behind: all connections are gone, so a platform that drains ends at once.
    served.signal(Signal::TERM);
    let (status, _) = served.end();
    assert!(status.success());
}

fn a_killed_keeper_is_replaced_with_its_worker() {
    let served = Served::start(&Wanted::default());
    let mut peers: Vec<Peer> = (0..32).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut peers {
        peer.ask("echo", b"x");
    }
    for round in 0..8 {
        let (_, keepers, _) = served.processes();
        kill(keepers[round % 4], Signal::KILL);
        until(Duration::from_secs(10), "four keepers with their workers", || {
            let (_, now, workers) = served.processes();
            let whole = now.iter().filter(|pid| is_alive(**pid) && !children(**pid).is_empty()).count();
            (whole == 4 && workers.len() == 4 && !now.contains(&keepers[round % 4])).then_some(())
        });
        assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
        for peer in &mut peers {
            let bytes = peer.request("echo", b"y", new_id(), false);
            let sent = std::io::Write::write_all(&mut peer.stream, &bytes);
            // Connections that only the dead one had open have ended; none hangs.
            match sent.and_then(|()| peer.try_hear()) {
                Ok(Said::Answer { body, .. }) => assert_eq!(body, b"y"),
                Ok(Said::End | Said::Goodbye { .. }) | Err(_) => {
                    *peer = Peer::connect(served.address);
                    peer.ask("echo", b"again");
                }
                Ok(other) => panic!("{other:?}"),
            }
        }
    }
}

fn a_dead_manager_takes_no_more_connections_and_a_restart_takes_the_port() {
    let served = Served::start(&Wanted::default());
    let address = served.address;
    let (manager, keepers, workers) = served.processes();
    let mut busy = sleeping(address, 500);
    let mut idle = Peer::connect(address);
    idle.ask("echo", b"x");
    kill(manager, Signal::KILL);
    let died = Instant::now();
    until(Duration::from_secs(5), "the port to be refused", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    println!("refused {:?} after the manager's death", died.elapsed());
    let restarted = Served::start(&Wanted { listen: address, ..Wanted::default() });
    println!("served again {:?} after the manager's death", died.elapsed());
    assert!(matches!(short(address, "echo", b"x"), Said::Answer { .. }));
    // What ran is finished, what was idle is told.
    match busy.hear() {
        Said::Answer { execution, .. } => assert_eq!(execution, Execution::Executed(0)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(idle.hear(), Said::Goodbye { last_taken: 1, .. }));
    until(Duration::from_secs(10), "the old processes to end", || {
        keepers.iter().chain(&workers).all(|pid| !is_alive(*pid)).then_some(())
    });
    assert!(matches!(short(restarted.address, "echo", b"x"), Said::Answer { .. }));
}

fn a_worker_that_dies_at_start_is_retried_with_a_growing_pause() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("die");
    std::fs::write(&path, b"").unwrap();
    let wanted = Wanted { workers: 1, die_at_start: Some(path.clone()), ..Wanted::default() };
    let mut served = Served::start_unready(&wanted);
    let keeper = until(Duration::from_secs(5), "the keeper", || served.processes().1.first().copied());
    // 100 + 200 + 400 + 800 ms: at most five starts in 1.5 s. A hot loop would make hundreds.
    let mut seen = std::collections::HashSet::new();
    let began = Instant::now();
    until(Duration::from_secs(5), "1.5 s to pass", || {
        seen.extend(children(keeper));
        (began.elapsed() > Duration::from_millis(1_500)).then_some(())
    });
    assert!(seen.len() <= 10, "{} workers in 1.5 s", seen.len());
    assert!(is_alive(keeper));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(served.line(), "ready");
    assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
}

fn descriptors_that_an_app_leaks_do_not_end_the_service() {
    let served = Served::start(&Wanted { workers: 2, connections: 128, ..Wanted::default() });
    let mut peers: Vec<Peer> = (0..32).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut peers {
        peer.ask("echo", b"x");
    }
    for _ in 0..4 {
        // All that the process may open, so that the platform's own range is reached, too.
        let mut leaking = Peer::connect(served.address);
        leaking.send("leak", b"10000000", false);
        leaking.hear();
        for peer in &mut peers {
            let bytes = peer.request("echo", b"y", new_id(), false);
            let sent = std::io::Write::write_all(&mut peer.stream, &bytes);
            match sent.and_then(|()| peer.try_hear()) {
                Ok(Said::Answer { body, .. }) => assert_eq!(body, b"y"),
                other => {
                    println!("a connection ended: {other:?}");
                    *peer = Peer::connect(served.address);
                    peer.ask("echo", b"again");
                }
            }
        }
        assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
    }
    // The leaks went with the workers.
    until(Duration::from_secs(10), "workers without leaks", || {
        let mut peer = Peer::connect(served.address);
        peer.send("open", b"", true);
        match peer.try_hear() {
            Ok(Said::Answer { body, .. }) => {
                let count: usize = String::from_utf8(body).unwrap().parse().unwrap();
                (count < 300).then_some(())
            }
            _ => None,
        }
    });
}

fn a_stopped_worker_delays_nobody_else() {
    let served = Served::start(&Wanted::default());
    let mut peers: Vec<Peer> = (0..16).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut peers {
        peer.ask("echo", b"x");
    }
    let (_, _, workers) = served.processes();
    // Whoever is stopped with a connection in hand delays that one; here all are done with theirs.
    served.rest();
    kill(workers[0], Signal::STOP);
    until(Duration::from_secs(5), "it to be stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", workers[0])).unwrap();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')).then_some(())
    });
    for _ in 0..50 {
        for peer in &mut peers {
            assert_eq!(peer.ask("echo", b"y"), b"y");
        }
        assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
    }
    kill(workers[0], Signal::CONT);
    for peer in &mut peers {
        assert_eq!(peer.ask("echo", b"z"), b"z");
    }
}

fn where_fetching_is_denied_connections_are_passed() {
    let served = Served::start(&Wanted { deny_fetching: true, ..Wanted::default() });
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::connect(served.address)).collect();
    let mut served_by = std::collections::HashSet::new();
    for _ in 0..5 {
        // All at once, so that many workers serve each.
        for peer in &mut peers {
            peer.send("pid", b"", false);
        }
        for peer in &mut peers {
            match peer.hear() {
                Said::Answer { execution: Execution::Executed(0), body, .. } => served_by.insert(body),
                other => panic!("{other:?}"),
            };
        }
    }
    let (_, _, before) = served.processes();
    served.rest();
    for pid in &before {
        kill(*pid, Signal::KILL);
    }
    until(Duration::from_secs(10), "four new workers", || {
        let (_, _, now) = served.processes();
        (now.len() == 4 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    for peer in &mut peers {
        assert_eq!(peer.ask("echo", b"after"), b"after");
    }
    assert!(served_by.len() > 1, "one worker served all");
}
