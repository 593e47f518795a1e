use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ibp_core::wire::{ErrorCode, Execution};

use crate::peer::{Peer, Said, new_id, short};
use crate::served::{Served, Wanted, until};

crate::tests!(
    sixty_four_speaking_and_a_thousand_idle_are_all_served,
    a_worker_in_a_long_call_delays_nobody_else,
    silent_and_dripping_peers_hold_no_worker,
    a_peer_that_is_too_slow_is_told_so,
    an_idle_connection_gets_goodbye_with_the_last_number,
    a_full_table_refuses_clearly_and_serves_again,
);

fn sixty_four_speaking_and_a_thousand_idle_are_all_served() {
    let served = Served::start(&Wanted::default());
    let address = served.address;
    let mut idle: Vec<Peer> = (0..1_000)
        .map(|_| {
            let mut peer = Peer::connect(address);
            assert_eq!(peer.ask("echo", b"first"), b"first");
            peer
        })
        .collect();
    let stop = AtomicBool::new(false);
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let speakers: Vec<_> = (0..64)
            .map(|_| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut peer = Peer::connect(address);
                    let mut count = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(peer.ask("echo", &count.to_le_bytes()), count.to_le_bytes());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        // The idle ones are served at once, too, while the others speak.
        for peer in &mut idle {
            assert_eq!(peer.ask("echo", b"again"), b"again");
        }
        stop.store(true, Ordering::Relaxed);
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(least * 10 > *most, "slowest {least}, fastest {most}");
}

fn a_worker_in_a_long_call_delays_nobody_else() {
    let served = Served::start(&Wanted::default());
    let mut busy = Peer::connect(served.address);
    let mut long: Vec<Peer> = (0..16).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut long {
        peer.ask("echo", b"");
    }
    busy.send("sleep", b"10000", false);
    let mut longest = Duration::ZERO;
    for round in 0..300_usize {
        let began = Instant::now();
        assert_eq!(long[round % 16].ask("echo", b"x"), b"x");
        longest = longest.max(began.elapsed());
        let began = Instant::now();
        assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
        longest = longest.max(began.elapsed());
    }
    println!("longest wait beside a call of 10 s: {longest:?}");
    // The requirement; a wait for the long call would be seconds.
    assert!(longest < Duration::from_millis(50), "{longest:?}");
}

fn silent_and_dripping_peers_hold_no_worker() {
    let served = Served::start(&Wanted { receive_ms: 60_000, ..Wanted::default() });
    let silent: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    let mut model = Peer::connect(served.address);
    let bytes = model.request("echo", &[1; 128], new_id(), false);
    let mut dripping: Vec<TcpStream> =
        (0..500).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    let mut longest = Duration::ZERO;
    for round in 0..4 {
        let second = Instant::now();
        for drip in &mut dripping {
            drip.write_all(&bytes[round..=round]).unwrap();
        }
        while second.elapsed() < Duration::from_secs(1) {
            let began = Instant::now();
            assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
            longest = longest.max(began.elapsed());
        }
    }
    println!("longest wait beside 500 silent and 500 dripping peers: {longest:?}");
    assert!(longest < Duration::from_millis(100), "{longest:?}");
    drop(silent);
    // One of them gets on with it, and is served.
    let mut quick = Peer::over(dripping.remove(0));
    quick.request("echo", &[1; 128], new_id(), false);
    quick.stream.write_all(&bytes[4..]).unwrap();
    assert!(matches!(quick.hear(), Said::Answer { body, .. } if body == [1; 128]));
}

fn a_peer_that_is_too_slow_is_told_so() {
    let served = Served::start(&Wanted { receive_ms: 300, ..Wanted::default() });
    let mut halfway = Peer::connect(served.address);
    assert_eq!(halfway.ask("echo", b"whole"), b"whole");
    let bytes = halfway.request("echo", b"never whole", new_id(), false);
    halfway.stream.write_all(&bytes[..bytes.len() - 1]).unwrap();
    match halfway.hear() {
        Said::Error { last_taken, code, .. } => assert_eq!((last_taken, code), (1, ErrorCode::Timeout)),
        other => panic!("{other:?}"),
    }
    assert_eq!(halfway.hear(), Said::End);
    // Idle between two requests is not slow.
    let mut idle = Peer::connect(served.address);
    assert_eq!(idle.ask("echo", b"1"), b"1");
    let began = Instant::now();
    until(Duration::from_secs(5), "a second to pass", || {
        (began.elapsed() > Duration::from_millis(1_500)).then_some(())
    });
    assert_eq!(idle.ask("echo", b"2"), b"2");
}

fn an_idle_connection_gets_goodbye_with_the_last_number() {
    let served = Served::start(&Wanted { idle_ms: 300, ..Wanted::default() });
    let mut peer = Peer::connect(served.address);
    for _ in 0..3 {
        peer.ask("echo", b"x");
    }
    match peer.hear() {
        Said::Goodbye { last_taken, reason } => {
            assert_eq!((last_taken, reason.number()), (3, 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.hear(), Said::End);
}

fn a_full_table_refuses_clearly_and_serves_again() {
    let served = Served::start(&Wanted { connections: 16, ..Wanted::default() });
    let mut peers: Vec<Peer> = (0..16).map(|_| Peer::connect(served.address)).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("echo", b"x"), b"x");
    }
    // Each has its place by now.
    served.rest();
    let mut one_more = Peer::connect(served.address);
    one_more.send("echo", b"served, then refused", false);
    // What it asked is answered; what it may not do is stay.
    assert!(matches!(one_more.hear(), Said::Answer { execution: Execution::Executed(_), .. }));
    assert!(matches!(one_more.hear(), Said::Error { last_taken: 1, code: ErrorCode::Full, .. }));
    assert_eq!(one_more.hear(), Said::End);
    // Short connections need no place.
    assert!(matches!(short(served.address, "echo", b"x"), Said::Answer { .. }));
    drop(peers.pop());
    until(Duration::from_secs(5), "a place to be free", || {
        let mut peer = Peer::connect(served.address);
        peer.send("echo", b"x", false);
        assert!(matches!(peer.hear(), Said::Answer { .. }));
        served.rest();
        let again = peer.request("echo", b"x", new_id(), false);
        let sent = peer.stream.write_all(&again);
        sent.and_then(|()| peer.try_hear())
            .is_ok_and(|said| matches!(said, Said::Answer { .. }))
            .then_some(())
    });
}
