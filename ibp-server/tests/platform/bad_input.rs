use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ibp_core::wire::ErrorCode;
use ibp_core::wire::ib2::{ClientHello, FrameType, Header, put_preamble};

use crate::peer::{Peer, Said, new_id, short};
use crate::served::{Served, Wanted, until};

crate::tests!(
    random_bytes_are_answered_with_one_error,
    a_peer_that_stops_after_each_byte_harms_nobody,
    a_declared_body_of_2_to_the_63_is_refused_at_once,
    what_may_not_stand_there_is_refused_with_its_reason,
    names_of_any_length_are_refused_or_rejected,
    http_is_told_that_it_is_not_spoken,
    a_large_request_in_pieces_takes_memory_only_for_what_came,
    many_connections_at_once_and_gone_again,
    workers_killed_while_they_receive_give_back_what_they_took,
    a_file_that_is_no_socket_is_not_replaced_by_one,
);

fn serves(served: &Served) {
    assert!(matches!(short(served.address, "echo", b"good"), Said::Answer { body, .. } if body == b"good"));
}

fn random_bytes_are_answered_with_one_error() {
    let served = Served::start(&Wanted { receive_ms: 1_500, ..Wanted::default() });
    let seed: u64 = std::env::var("IBP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120);
    println!("seed {seed}");
    let mut state = seed | 1;
    for round in 0..300 {
        let mut bytes = Vec::new();
        // Every other one begins as it should.
        if round % 2 == 0 {
            let whole = Peer::over(std::io::Cursor::new(Vec::new())).request("echo", b"x", new_id(), false);
            bytes.extend_from_slice(&whole[..round % whole.len()]);
        }
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The platform may close while this still writes.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1_000, "{} bytes for garbage", answer.len());
    }
    serves(&served);
}

fn a_peer_that_stops_after_each_byte_harms_nobody() {
    let served = Served::start(&Wanted { receive_ms: 500, ..Wanted::default() });
    let whole = Peer::over(std::io::Cursor::new(Vec::new())).request("echo", &[9; 64], new_id(), true);
    let mut hello = Vec::new();
    put_preamble(&mut hello);
    ClientHello::plain("CLIENT").put(&mut hello);
    let mut left = Vec::new();
    for end in 0..whole.len() {
        let mut closing = TcpStream::connect(served.address).unwrap();
        closing.write_all(&whole[..end]).unwrap();
        drop(closing);
        // Who has said nothing is not handed over by the kernel yet, and who has said hello may be idle.
        if end != 0 && end != hello.len() {
            let mut silent = Peer::connect(served.address);
            silent.stream.write_all(&whole[..end]).unwrap();
            left.push((end, silent));
        }
    }
    serves(&served);
    // Those who never go on are told, and closed.
    for (end, mut silent) in left {
        let said = silent.hear();
        let told = matches!(said, Said::Error { last_taken: 0, code: ErrorCode::Timeout, .. });
        assert!(told, "after {end} bytes: {said:?}");
        assert_eq!(silent.hear(), Said::End);
    }
    serves(&served);
}

fn a_declared_body_of_2_to_the_63_is_refused_at_once() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    assert_eq!(peer.ask("echo", b"x"), b"x");
    peer.request("echo", b"", new_id(), false);
    let header = Header { frame: FrameType::Request, flags: 0, number: 2, length: 1 << 63 };
    peer.stream.write_all(&header.to_bytes()).unwrap();
    match peer.hear() {
        Said::Error { last_taken, code, text } => {
            assert_eq!((last_taken, code), (1, ErrorCode::TooLong));
            assert!(text.contains("9223372036854775808 bytes declared"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.hear(), Said::End);
    serves(&served);
}

fn what_may_not_stand_there_is_refused_with_its_reason() {
    let served = Served::start(&Wanted::default());
    for (frame, number, code) in [
        (FrameType::Response, 2, ErrorCode::UnexpectedFrame),
        (FrameType::ClientHello, 0, ErrorCode::UnexpectedFrame),
        (FrameType::Sealed, 0, ErrorCode::UnexpectedFrame),
        (FrameType::Request, 7, ErrorCode::BadNumber),
        (FrameType::Request, 2, ErrorCode::Malformed),
    ] {
        let mut peer = Peer::connect(served.address);
        assert_eq!(peer.ask("echo", b"x"), b"x");
        peer.request("echo", b"", new_id(), false);
        let header = Header { frame, flags: 0, number, length: 0 };
        peer.stream.write_all(&header.to_bytes()).unwrap();
        match peer.hear() {
            Said::Error { last_taken, code: told, text } => {
                assert_eq!((last_taken, told), (1, code), "{frame:?}: {text}");
            }
            other => panic!("{frame:?}: {other:?}"),
        }
        assert_eq!(peer.hear(), Said::End);
    }
    serves(&served);
}

fn names_of_any_length_are_refused_or_rejected() {
    let served = Served::start(&Wanted::default());
    let mut peer = Peer::connect(served.address);
    let said = peer.call(&"a".repeat(64), b"");
    assert!(matches!(said, Said::Answer { .. }), "{said:?}");
    for name in ["a".repeat(65), "b".repeat(255), "c".repeat(10_000), "spa ce".to_owned(), String::new()] {
        let mut peer = Peer::connect(served.address);
        match peer.call(&name, b"") {
            Said::Error { code: ErrorCode::Malformed, last_taken: 0, .. } => {}
            other => panic!("{} bytes: {other:?}", name.len()),
        }
    }
    serves(&served);
}

fn http_is_told_that_it_is_not_spoken() {
    let served = Served::start(&Wanted::default());
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    serves(&served);
}

fn a_large_request_in_pieces_takes_memory_only_for_what_came() {
    let served = Served::start(&Wanted::default());
    let body = vec![3; 20 << 20];
    let mut peer = Peer::connect(served.address);
    let bytes = peer.request("echo", &body, new_id(), false);
    let shared = || {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find(|line| line.starts_with("Shmem:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = shared();
    for piece in bytes[..4 << 20].chunks(100_000) {
        peer.stream.write_all(piece).unwrap();
        serves(&served);
    }
    // 4 of 20 MiB came: that is what waits, whatever was declared.
    let waiting = shared().saturating_sub(before);
    println!("{waiting} KiB for 4 MiB of a request that declares 20 MiB");
    assert!(waiting < 12 << 10, "{waiting} KiB");
    peer.stream.write_all(&bytes[4 << 20..]).unwrap();
    assert!(matches!(peer.hear(), Said::Answer { body: answer, .. } if answer == body));
}

fn many_connections_at_once_and_gone_again() {
    let served = Served::start(&Wanted::default());
    for round in 0..3 {
        let mut peers: Vec<Peer> = (0..1_000).map(|_| Peer::connect(served.address)).collect();
        for peer in &mut peers {
            peer.send("echo", b"x", false);
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            assert!(matches!(peer.hear(), Said::Answer { .. }), "round {round}, peer {n}");
        }
    }
    // What is closed is given back: as many fit again and again, and nothing is left open.
    serves(&served);
    until(Duration::from_secs(10), "the closed connections to be given back", || {
        let open = |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let (_, keepers, _) = served.processes();
        keepers.iter().all(|pid| open(pid) < 100).then_some(())
    });
}

fn workers_killed_while_they_receive_give_back_what_they_took() {
    let served = Served::start(&Wanted::default());
    let body = vec![5; 60 << 20];
    for _ in 0..6 {
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut peer = Peer::connect(served.address);
                    peer.ask("echo", b"first");
                    for piece in peer.request("echo", &body, new_id(), true).chunks(256 << 10) {
                        if peer.stream.write_all(piece).is_err() {
                            break;
                        }
                        sent.fetch_add(piece.len(), Ordering::Relaxed);
                    }
                });
            }
            until(Duration::from_secs(30), "bytes on their way", || {
                (sent.load(Ordering::Relaxed) > 40 << 20).then_some(())
            });
            for pid in served.processes().2 {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
    }
    // Three of them fit in what is allowed together, as if nothing had been: once what the dead held is given back.
    until(Duration::from_secs(30), "room for three", || {
        let mut peers: Vec<Peer> = (0..3).map(|_| Peer::connect(served.address)).collect();
        let requests: Vec<_> =
            peers.iter_mut().map(|peer| peer.request("echo", &body, new_id(), true)).collect();
        for (peer, bytes) in peers.iter_mut().zip(&requests) {
            peer.stream.write_all(&bytes[..bytes.len() - 1]).ok()?;
        }
        for (peer, bytes) in peers.iter_mut().zip(&requests) {
            peer.stream.write_all(&bytes[bytes.len() - 1..]).ok()?;
            let answer = peer.try_hear().ok()?;
            if !matches!(answer, Said::Answer { body: answer, .. } if answer == body) {
                return None;
            }
        }
        Some(())
    });
}

fn a_file_that_is_no_socket_is_not_replaced_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "precious").unwrap();
    let wanted = Wanted { unix: Some(path.clone()), ..Wanted::default() };
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--serve", &wanted.to_text()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = until(Duration::from_secs(20), "a platform that cannot begin", || child.try_wait().unwrap());
    assert!(!status.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
