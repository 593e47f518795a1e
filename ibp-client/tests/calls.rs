//! Short and long calls of honest servers.

mod support;

use std::time::Duration;

use ibp_core::wire::{Execution, TransactionId};
use support::{Log, Reply, Server, builder, client};

#[test]
fn a_short_call_is_answered() {
    let server = Server::echo();
    let client = client(&[server.addr]);
    let response = client.request("NODE", "echo").body("hello").send().unwrap();
    assert_eq!(&*response, b"hello");
    assert_eq!((response.code(), response.is_success()), (0, true));
    assert_eq!(response.host(), Some(server.addr));
    assert_eq!((response.load().busy, response.load().workers), (1, 4));
}

#[test]
fn a_long_connection_serves_many_calls() {
    let server = Server::echo();
    let client = client(&[server.addr]);
    let mut connection = client.connect("NODE").unwrap();
    for number in 0..1000_u32 {
        let body = number.to_le_bytes();
        assert_eq!(&*connection.call("echo", &body).unwrap(), body);
    }
    assert_eq!((server.accepted(), server.requests()), (1, 1000));
    assert_eq!(connection.host(), Some(server.addr));
    assert!(!connection.is_local());
}

#[test]
fn bodies_of_all_sizes_go_both_ways() {
    let server = Server::echo();
    let client = client(&[server.addr]);
    let mut connection = client.connect("NODE").unwrap();
    for size in [0, 1, 127, 4095, 4096, 8191, 8192, 8193, 65_535, 65_536, 1 << 20, 20 << 20, 3] {
        let body: Vec<u8> = (0..size).map(|at: usize| (at * 31) as u8).collect();
        let response = connection.call("echo", &body).unwrap();
        assert!(*response == *body, "long, {size} bytes");
        let response = client.request("NODE", "echo").body(&body).send().unwrap();
        assert!(*response == *body, "short, {size} bytes");
        assert!(response.into_vec() == body, "taken out, {size} bytes");
    }
}

#[test]
fn what_goes_over_the_wire_is_what_was_asked() {
    let seen: Log<_> = Log::default();
    let log = seen.clone();
    let server = Server::answering(move |asked| {
        log.lock().unwrap().push(asked.clone());
        Reply::of(Execution::Executed(-3), b"")
    });
    let client = client(&[server.addr]);
    let id = TransactionId([9; 16]);
    let response = client
        .request("NODE", "other_app")
        .body("b")
        .timeout(Duration::from_millis(1500))
        .transaction(id)
        .send()
        .unwrap();
    assert_eq!((response.code(), response.is_success(), response.transaction()), (-3, false, id));
    let mut connection = client.connect("NODE").unwrap();
    let first = connection.call("echo", b"").unwrap().transaction();
    let second = connection.call_with("echo").timeout(Duration::from_secs(1)).send().unwrap().transaction();
    assert_ne!(first, second);

    let seen = seen.lock().unwrap();
    let [short, one, two] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((short.client_node.as_str(), short.node.as_str()), ("TESTER", "NODE"));
    assert_eq!((short.app.as_str(), short.last, short.number, short.transaction), ("other_app", true, 1, id));
    assert!((1000..=1500).contains(&short.remaining_ms), "{}", short.remaining_ms);
    assert_eq!((one.last, one.number, one.transaction), (false, 1, first));
    assert!((4000..=5000).contains(&one.remaining_ms), "the app's timeout: {}", one.remaining_ms);
    assert_eq!((two.last, two.number, two.transaction), (false, 2, second));
    assert!((500..=1000).contains(&two.remaining_ms), "{}", two.remaining_ms);
}

#[test]
fn an_app_that_a_static_configuration_does_not_name_has_the_default_timeout() {
    let seen: Log<_> = Log::default();
    let log = seen.clone();
    let server = Server::answering(move |asked| {
        log.lock().unwrap().push(asked.remaining_ms);
        Reply::ok(b"")
    });
    client(&[server.addr]).request("NODE", "unnamed").send().unwrap();
    let short = builder(&[server.addr]).default_timeout(Duration::from_secs(3)).build().unwrap();
    short.request("NODE", "unnamed").send().unwrap();
    let seen = seen.lock().unwrap();
    assert!((40_000..=50_000).contains(&seen[0]) && (2_000..=3_000).contains(&seen[1]), "{seen:?}");
}

#[test]
fn an_app_may_have_a_default_node() {
    let server = Server::answering(|asked| Reply::ok(asked.node.as_bytes()));
    let client = builder(&[server.addr])
        .node("OTHER", [support::nobody().addr])
        .app_of_node("ask_NODE", Duration::from_secs(5), "NODE")
        .build()
        .unwrap();
    assert_eq!(&*client.request_app("ask_NODE").send().unwrap(), b"NODE");
}

#[test]
fn a_client_is_shared_by_threads() {
    let server = Server::echo();
    let client = client(&[server.addr]);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let client = &client;
            scope.spawn(move || {
                let mut connection = client.connect("NODE").unwrap();
                for call in 0..125_u32 {
                    let body = [thread.to_le_bytes(), call.to_le_bytes()].concat();
                    if call % 5 == 0 {
                        assert_eq!(&*client.request("NODE", "echo").body(&body).send().unwrap(), body);
                    } else {
                        assert_eq!(&*connection.call("echo", &body).unwrap(), body);
                    }
                }
            });
        }
    });
    assert_eq!(server.requests(), 1000);
}
