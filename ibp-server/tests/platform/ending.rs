use std::time::{Duration, Instant};

use ibp_core::wire::{AbortReason, Execution};
use rustix::process::Signal;

use crate::peer::{Peer, Said, short, sleeping};
use crate::served::{Served, Wanted, describe, is_alive, until};

crate::tests!(
    term_finishes_what_runs_and_says_goodbye_to_the_rest,
    interrupt_is_as_good_as_term_and_a_second_one_ends_at_once,
    the_grace_time_ends_what_runs_too_long,
    term_to_one_worker_replaces_it_without_harm,
    an_address_in_use_is_a_clear_error,
    a_port_is_free_again_at_once,
);

fn all(served: &Served) -> Vec<i32> {
    let (manager, keepers, workers) = served.processes();
    std::iter::once(manager).chain(keepers).chain(workers).collect()
}

fn term_finishes_what_runs_and_says_goodbye_to_the_rest() {
    let served = Served::start(&Wanted::default());
    let address = served.address;
    let pids = all(&served);
    let mut busy = sleeping(address, 700);
    let mut idle: Vec<Peer> = (0..50).map(|_| Peer::connect(address)).collect();
    for peer in &mut idle {
        peer.ask("echo", b"x");
        peer.ask("echo", b"y");
    }
    served.signal(Signal::TERM);
    until(Duration::from_secs(1), "the port to be refused", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    for peer in &mut idle {
        match peer.hear() {
            Said::Goodbye { last_taken, reason } => assert_eq!((last_taken, reason.number()), (2, 2)),
            other => panic!("{other:?}"),
        }
        assert_eq!(peer.hear(), Said::End);
    }
    drop(idle);
    match busy.hear() {
        Said::Answer { execution, .. } => assert_eq!(execution, Execution::Executed(0)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(busy.hear(), Said::Goodbye { last_taken: 1, .. }));
    drop(busy);
    let (status, said) = served.end();
    assert!(status.success(), "{}", describe(status));
    assert!(said.contains("executed: 101"), "{said}");
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "no process is left");
}

fn interrupt_is_as_good_as_term_and_a_second_one_ends_at_once() {
    let served = Served::start(&Wanted { grace_ms: 60_000, ..Wanted::default() });
    let pids = all(&served);
    let mut busy = sleeping(served.address, 50_000);
    served.signal(Signal::INT);
    until(Duration::from_secs(1), "the port to be refused", || {
        std::net::TcpStream::connect(served.address).is_err().then_some(())
    });
    let second = Instant::now();
    served.signal(Signal::INT);
    match busy.hear() {
        Said::Answer { execution, .. } => {
            assert_eq!(execution, Execution::Aborted(AbortReason::Shutdown));
        }
        other => panic!("{other:?}"),
    }
    drop(busy);
    let (status, _) = served.end();
    assert!(status.success(), "{}", describe(status));
    println!("ended {:?} after the second interrupt", second.elapsed());
    assert!(second.elapsed() < Duration::from_secs(10), "it did not wait for the grace time");
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "no process is left");
}

fn the_grace_time_ends_what_runs_too_long() {
    let served = Served::start(&Wanted { grace_ms: 500, ..Wanted::default() });
    let mut busy = sleeping(served.address, 50_000);
    served.signal(Signal::TERM);
    match busy.hear() {
        Said::Answer { execution, .. } => {
            assert_eq!(execution, Execution::Aborted(AbortReason::Shutdown));
        }
        other => panic!("{other:?}"),
    }
    drop(busy);
    let (status, said) = served.end();
    assert!(status.success(), "{}", describe(status));
    assert!(said.contains("aborted: 1"), "{said}");
}

fn term_to_one_worker_replaces_it_without_harm() {
    let served = Served::start(&Wanted::default());
    let mut peers: Vec<Peer> = (0..16).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut peers {
        peer.ask("echo", b"x");
    }
    let (_, _, before) = served.processes();
    for pid in &before {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        for peer in &mut peers {
            assert_eq!(peer.ask("echo", b"y"), b"y");
        }
    }
    until(Duration::from_secs(10), "four new workers", || {
        let (_, _, now) = served.processes();
        (now.len() == 4 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    for peer in &mut peers {
        assert_eq!(peer.ask("echo", b"z"), b"z");
    }
}

fn an_address_in_use_is_a_clear_error() {
    let first = Served::start(&Wanted::default());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--serve", &format!("4,{},,5000,10000,0,75000,64,,false", first.address)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("cannot listen on {}", first.address)), "{text}");
    assert!(text.contains("another program has it"), "{text}");
}

fn a_port_is_free_again_at_once() {
    let mut address = ([127, 0, 0, 1], 0).into();
    for _ in 0..5 {
        let served = Served::start(&Wanted { listen: address, ..Wanted::default() });
        address = served.address;
        let mut long = Peer::connect(address);
        long.ask("echo", b"x");
        assert!(matches!(short(address, "echo", b"x"), Said::Answer { .. }));
        served.signal(Signal::TERM);
        drop(long);
        assert!(served.end().0.success());
    }
}
