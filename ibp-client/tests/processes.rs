//! What the library asks of the process that it lives in, with real processes and signals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ibp_client::{Client, State};
use ibp_core::config::{Access, View, ViewApp, ViewHost, ViewNode};
use ibp_core::wire::TransactionId;
use ibp_shm::{Directory, Publisher, PublisherOptions};
use support::process::{again, in_child, is_helper, role};
use support::{Log, Reply, Server, builder, client};

#[test]
fn a_connection_of_the_parent_is_of_no_use_in_a_child() {
    let requests: Log<Vec<u8>> = Log::default();
    let log = requests.clone();
    let server = Server::answering(move |asked| {
        log.lock().unwrap().push(asked.body.clone());
        Reply::ok(&asked.body)
    });
    let client = client(&[server.addr]);
    let mut connection = client.connect("NODE").unwrap();
    connection.call("echo", b"before").unwrap();
    let right = in_child(|| {
        for _ in 0..2 {
            let error = connection.call("echo", b"child").unwrap_err();
            assert_eq!((error.state(), error.number()), (State::NotSent, 18));
            assert!(error.to_string().contains("fork"), "{error}");
        }
        drop(connection);
        true
    });
    assert!(right);
    // `connection` was moved into the closure, which this process did not run: make another one for the next part.
    let mut connection = client.connect("NODE").unwrap();
    connection.call("echo", b"one").unwrap();
    assert!(in_child(|| connection.call("echo", b"child").is_err()));
    assert_eq!(&*connection.call("echo", b"two").unwrap(), b"two", "the parent's connection is untouched");
    assert_eq!(*requests.lock().unwrap(), [&b"before"[..], b"one", b"two"], "the child sent nothing on it");
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_client_goes_on_working_in_a_child_with_ids_of_its_own() {
    let ids: Log<TransactionId> = Log::default();
    let log = ids.clone();
    let server = Server::answering(move |asked| {
        log.lock().unwrap().push(asked.transaction);
        Reply::ok(b"")
    });
    let client = client(&[server.addr]);
    let calls = |count: usize| (0..count).all(|_| client.request("NODE", "echo").send().is_ok());
    assert!(calls(5));
    assert!(in_child(
        || calls(5) && client.connect("NODE").is_ok_and(|mut own| own.call("echo", b"").is_ok())
    ));
    // A child of a child, from a client that the first child has used.
    assert!(in_child(|| calls(5) && in_child(|| calls(5))));
    assert!(calls(5));
    let ids = ids.lock().unwrap();
    assert_eq!(ids.len(), 26);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 26, "no id came twice");
    let draws: HashSet<_> = ids.iter().map(|id| &id.0[..10]).collect();
    assert_eq!(draws.len(), 4, "random bits of its own for each of the four processes");
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A thread under a hail of signals whose handler does not restart system calls.
#[test]
fn calls_survive_signals() {
    // SAFETY: the handler only adds to an atomic; all fields that matter are set.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
    let server = Server::answering(|asked| Reply::ok(&asked.body).after(Duration::from_millis(3)));
    let client = client(&[server.addr]);
    let large = vec![3; 8 << 20];
    let stop = AtomicBool::new(false);
    // SAFETY: has no preconditions.
    let target = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                // SAFETY: the target thread waits for this one before it ends.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let mut connection = client.connect("NODE").unwrap();
        for _ in 0..100 {
            connection.call("echo", b"long").unwrap();
            client.request("NODE", "echo").body("short").send().unwrap();
        }
        assert!(*connection.call("echo", &large).unwrap() == *large);
        assert!(*client.request("NODE", "echo").body(&large).send().unwrap() == *large);
        // A deadline is kept all the same.
        let began = Instant::now();
        let silent = Server::treating(support::await_end);
        let deadline = Duration::from_millis(300);
        let client = builder(&[silent.addr]).build().unwrap();
        let error = client.request("NODE", "echo").timeout(deadline).send().unwrap_err();
        assert_eq!(error.number(), 30, "{error}");
        assert!(began.elapsed() >= deadline, "not before its time either");
        stop.store(true, Ordering::SeqCst);
    });
    assert!(SIGNALS.load(Ordering::Relaxed) > 200, "{SIGNALS:?} signals came");
}

/// Rust programs ignore SIGPIPE; a C program does not, and must not be ended by it.
#[test]
fn a_broken_connection_raises_no_sigpipe() {
    if let Some(argument) = role("sigpipe") {
        // SAFETY: the default action is what a C program has.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (addr, directory) = argument.split_once(' ').unwrap();
        let addr = addr.parse().unwrap();
        let large = vec![1; 4 << 20];
        for client in [client(&[addr]), builder(&[addr]).unix_sockets_in(directory).build().unwrap()] {
            for _ in 0..50 {
                client.request("NODE", "echo").body(&large).host(addr).send().unwrap_err();
                let mut connection = client.connection("NODE").host(addr).connect().unwrap();
                // The server closes meanwhile, in most rounds before this is sent.
                std::thread::sleep(Duration::from_millis(1));
                connection.call("echo", b"small").unwrap_err();
            }
        }
        return;
    }
    if is_helper() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::treating(|stream| {
        let _ = stream.read(&mut [0; 100]);
    });
    let path = directory.path().join(format!("ibas.{}.sock", server.addr));
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let argument = format!("{} {}", server.addr, directory.path().display());
    let output = again("a_broken_connection_raises_no_sigpipe", "sigpipe", &argument).output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(server.accepted() >= 100);
}

fn view(hosts: &[SocketAddr], connecting_ms: u32, retry_ms: u32) -> View {
    let hosts = hosts.iter().map(|&addr| ViewHost { addr, invalid: false }).collect();
    View {
        this_node: "TESTER".to_owned(),
        connecting_timeout_ms: connecting_ms,
        retry_connect_ms: retry_ms,
        min_compress_size: 0,
        registry: None,
        access: Access::Open,
        nodes: vec![ViewNode { name: "NODE".to_owned(), invalid: false, hosts, key: None }],
        apps: vec![ViewApp {
            name: "echo".to_owned(),
            desc: String::new(),
            bin: String::new(),
            timeout_ms: 10_000,
            timeout2_ms: 15_000,
            invalid: false,
            server_node: "NODE".to_owned(),
        }],
        projects: vec![],
        kv: vec![],
    }
}

/// A host that takes no connections makes whoever tries it wait. Of four processes with two threads each, that call another
/// host all the time, only one waits at a time.
#[test]
fn after_its_rest_exactly_one_caller_of_the_machine_probes_a_host() {
    const CONNECTING_MS: u32 = 400;
    const RETRY_MS: u32 = 300;
    const SECONDS: f64 = 4.0;
    if let Some(directory) = role("probe") {
        let client = Client::attach(&Directory::at(directory)).unwrap();
        let end = Instant::now() + Duration::from_secs_f64(SECONDS);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        let began = Instant::now();
                        client.request("NODE", "echo").send().unwrap();
                        if began.elapsed() >= Duration::from_millis(u64::from(CONNECTING_MS) * 9 / 10) {
                            println!("waited {:?}", began.elapsed());
                        }
                        // Leaves the machine some air: what is counted is who waits long.
                        std::thread::sleep(Duration::from_micros(300));
                    }
                });
            }
        });
        return;
    }
    if is_helper() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("segments");
    let full = support::full_listener();
    let good = Server::echo();
    let hosts = [full.addr(), good.addr];
    let mut publisher = Publisher::open(&Directory::at(&path), PublisherOptions::default()).unwrap();
    publisher.publish(&view(&hosts, CONNECTING_MS, RETRY_MS)).unwrap();
    // It rests from the start, so that all begin alike.
    let client = Client::attach(&Directory::at(&path)).unwrap();
    assert_eq!(client.request("NODE", "echo").host(hosts[0]).send().unwrap_err().number(), 32);

    let began = Instant::now();
    let helpers: Vec<_> = (0..4)
        .map(|_| {
            let test = "after_its_rest_exactly_one_caller_of_the_machine_probes_a_host";
            again(test, "probe", path.to_str().unwrap()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut waited = 0;
    for helper in helpers {
        let output = helper.wait_with_output().unwrap();
        assert!(output.status.success());
        waited +=
            String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("waited")).count();
    }
    let cycles = began.elapsed().as_secs_f64() / (f64::from(CONNECTING_MS + RETRY_MS) / 1000.0);
    println!("{waited} probes in {cycles:.1} cycles of waiting and resting");
    assert!(waited >= 2, "it was tried again: {waited} times");
    assert!(waited as f64 <= cycles + 1.0, "{waited} callers waited in {cycles} cycles");
    assert!(good.requests() > 100);
}

/// `Private_Dirty` of this process, in KiB.
fn private_dirty() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_client_adds_at_most_two_mebibytes() {
    let test = "a_client_adds_at_most_two_mebibytes";
    if let Some(addr) = role("memory") {
        let mut kept = None;
        if addr != "nothing" {
            let client = client(&[addr.parse().unwrap()]);
            let mut connection = client.connect("NODE").unwrap();
            for body in [&[1; 128][..], &[2; 4096], &[3; 100_000], &[4; 128]] {
                for _ in 0..200 {
                    connection.call("echo", body).unwrap();
                    client.request("NODE", "echo").body(body).send().unwrap();
                }
            }
            kept = Some((client, connection));
        }
        println!("private_dirty {}", private_dirty());
        drop(kept);
        return;
    }
    if is_helper() {
        return;
    }
    let server = Server::echo();
    let measure = |argument: &str| -> usize {
        let output = again(test, "memory", argument).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, value) = text.split_once("private_dirty ").unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (empty, with_client) = (measure("nothing"), measure(&server.addr.to_string()));
    println!("Private_Dirty: {empty} KiB without, {with_client} KiB with a client");
    assert!(with_client <= empty + 2048, "{empty} KiB without, {with_client} KiB with a client");
}

#[test]
fn a_client_starts_no_thread() {
    if role("threads").is_some() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = count();
        let client = client(&[addr]);
        let mut connection = client.connect("NODE").unwrap();
        connection.call_with("echo").timeout(Duration::from_millis(10)).send().unwrap_err();
        assert_eq!(count(), before);
        return;
    }
    if is_helper() {
        return;
    }
    assert!(again("a_client_starts_no_thread", "threads", "-").status().unwrap().success());
}
