//! Which host is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ibp_client::{Client, LeastLoaded, State, TwoChoices};
use ibp_core::Load;
use ibp_core::config::{Access, View, ViewApp, ViewHost, ViewNode};
use ibp_core::wire::{Execution, RejectReason};
use ibp_shm::{Retry, boottime_ms};
use support::{InOrder, Reply, Server, builder, client, nobody};

/// Stores a load as if a host had reported it so long ago.
fn report(client: &Client, host: usize, busy: u16, workers: u16, age: Duration) {
    let config = client.reader().current();
    let host = config.node("NODE").unwrap().host(host).unwrap();
    let now = boottime_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap());
    assert!(host.slot().report(Load { busy, workers }, now));
}

fn retry_of(client: &Client, host: usize) -> Retry {
    let config = client.reader().current();
    config.node("NODE").unwrap().host(host).unwrap().slot().retry(boottime_ms())
}

/// How many of `calls` short calls each host answered.
fn shares(client: &Client, calls: usize) -> HashMap<SocketAddr, usize> {
    let mut shares = HashMap::new();
    for _ in 0..calls {
        let host = client.request("NODE", "echo").send().unwrap().host().unwrap();
        *shares.entry(host).or_default() += 1;
    }
    shares
}

/// Servers that report a load of their own each.
fn servers(loads: &[(u16, u16)]) -> Vec<Server> {
    loads
        .iter()
        .map(|&(busy, workers)| Server::answering(move |_| Reply::ok(b"").load(busy, workers)))
        .collect()
}

fn addrs(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.addr).collect()
}

#[test]
fn the_least_loaded_host_is_chosen() {
    let servers = servers(&[(3, 4), (1, 4), (4, 4)]);
    let client = builder(&addrs(&servers)).balancer(LeastLoaded).build().unwrap();
    // Once each, until their loads are known.
    shares(&client, 3);
    assert_eq!(servers.iter().map(Server::accepted).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(shares(&client, 50), HashMap::from([(servers[1].addr, 50)]));
    // Another process of this machine tells that this one is full, and that the first is idle.
    report(&client, 1, 4, 4, Duration::ZERO);
    report(&client, 0, 0, 4, Duration::ZERO);
    assert_eq!(client.request("NODE", "echo").send().unwrap().host(), Some(servers[0].addr));
}

#[test]
fn a_response_and_a_refusal_report_the_load() {
    let busy = Server::answering(|_| Reply::of(Execution::Rejected(RejectReason::Busy), b"").load(4, 4));
    let good = Server::answering(|_| Reply::ok(b"").load(1, 4));
    let client = builder(&[busy.addr, good.addr]).balancer(InOrder).build().unwrap();
    client.request("NODE", "echo").send().unwrap();
    let config = client.reader().current();
    let node = config.node("NODE").unwrap();
    let permille = |host| node.host(host).unwrap().slot().load(boottime_ms()).unwrap().permille;
    assert_eq!((permille(0), permille(1)), (1000, 250));
}

#[test]
fn equals_are_chosen_at_random() {
    let servers = servers(&[(1, 4), (1, 4), (1, 4)]);
    for client in [
        builder(&addrs(&servers)).balancer(LeastLoaded).build().unwrap(),
        builder(&addrs(&servers)).balancer(TwoChoices).build().unwrap(),
    ] {
        let shares = shares(&client, 600);
        for server in &servers {
            // 200 expected; 11 is one standard deviation.
            let share = shares[&server.addr];
            assert!((120..280).contains(&share), "{shares:?}");
        }
    }
}

#[test]
fn the_default_prefers_less_load_and_does_not_starve_the_rest() {
    let servers = servers(&[(1, 4), (2, 4), (4, 4)]);
    let client = client(&addrs(&servers));
    shares(&client, 30);
    let shares = shares(&client, 300);
    let share = |server: &Server| shares.get(&server.addr).copied().unwrap_or(0);
    // The least loaded one is in two of three draws, the middle one wins the third.
    assert!((140..260).contains(&share(&servers[0])), "{shares:?}");
    assert!((50..160).contains(&share(&servers[1])), "{shares:?}");
    assert_eq!(share(&servers[2]), 0, "{shares:?}");
}

#[test]
fn reports_expire() {
    let servers = servers(&[(1, 4), (1, 4)]);
    let client = builder(&addrs(&servers)).report_expiry(Duration::from_secs(5)).build().unwrap();
    report(&client, 1, 1, 4, Duration::ZERO);
    report(&client, 0, 4, 4, Duration::from_secs(1));
    assert_eq!(client.request("NODE", "echo").send().unwrap().host(), Some(servers[1].addr));
    // Nothing is known of the first any more: it is worth a try.
    report(&client, 0, 4, 4, Duration::from_secs(8));
    assert_eq!(client.request("NODE", "echo").send().unwrap().host(), Some(servers[0].addr));
}

#[test]
fn requests_in_flight_count() {
    let slow = Server::answering(|_| Reply::ok(b"").load(1, 4).after(Duration::from_millis(200)));
    let quick = Server::answering(|_| Reply::ok(b"").load(1, 4));
    let client = client(&[slow.addr, quick.addr]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let end = Instant::now() + Duration::from_secs(1);
                while Instant::now() < end {
                    client.request("NODE", "echo").send().unwrap();
                }
            });
        }
    });
    let (slow, quick) = (slow.requests(), quick.requests());
    assert!(quick > 10 * slow, "{slow} calls of the slow host, {quick} of the quick one, equal reports");
}

/// Refusing is quick: a host that does only that, and reports no load, must not become the one that is asked most.
#[test]
fn a_host_that_refuses_quickly_attracts_no_traffic() {
    use RejectReason::*;
    for reason in [Busy, Draining, WrongNode, UnknownApp] {
        for seeds in [false, true] {
            let refuser = Server::answering(move |_| Reply::of(Execution::Rejected(reason), b"").load(0, 4));
            let good = Server::answering(|_| Reply::ok(b"").load(3, 4).after(Duration::from_micros(300)));
            let builder = builder(&[refuser.addr, good.addr]);
            let builder = if seeds { builder.balancer(LeastLoaded) } else { builder.balancer(TwoChoices) };
            let client = builder.build().unwrap();
            let began = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| shares(&client, 250));
                }
            });
            // Once a second, by whichever threads choose at that moment.
            let most = 4 * (1 + began.elapsed().as_secs() as usize);
            assert_eq!(good.requests(), 1000);
            assert!((1..=most).contains(&refuser.requests()), "{reason}: {} of 1000", refuser.requests());
        }
    }
}

#[test]
fn a_host_that_cannot_be_connected_to_attracts_no_traffic() {
    let (deaf, good) = (nobody(), Server::echo());
    for client in [
        client(&[deaf.addr, good.addr]),
        builder(&[deaf.addr, good.addr]).balancer(LeastLoaded).build().unwrap(),
    ] {
        assert_eq!(shares(&client, 500), HashMap::from([(good.addr, 500)]));
        assert!(
            matches!(retry_of(&client, 0), Retry::Resting { failures: 1, .. }),
            "{:?}",
            retry_of(&client, 0)
        );
    }
}

#[test]
fn a_host_that_rests_is_asked_again_after_its_rest() {
    let deaf = nobody();
    let addr = deaf.addr;
    let client = builder(&[addr]).retry_connect_timeval(Duration::from_millis(200)).build().unwrap();
    let error = client.request("NODE", "echo").send().unwrap_err();
    assert_eq!(error.number(), 31, "{error}");
    let error = client.request("NODE", "echo").send().unwrap_err();
    assert_eq!((error.state(), error.number(), error.is_retryable()), (State::NotSent, 17, true), "{error}");
    assert!(error.to_string().contains(&addr.to_string()), "it says which host rests: {error}");
    drop(deaf);
    let server = Server::listening(std::net::TcpListener::bind(addr).unwrap(), |stream| {
        let _ = support::serve(stream, &ibp_core::wire::Limits::default(), |_| Reply::ok(b"back"));
    });
    support::eventually("the end of the rest", || client.request("NODE", "echo").send().is_ok());
    assert_eq!(retry_of(&client, 0), Retry::Ready);
    drop(server);
}

#[test]
fn a_pinned_host_is_asked_though_it_rests_and_no_other() {
    let (deaf, good) = (nobody(), Server::echo());
    let client = client(&[deaf.addr, good.addr]);
    shares(&client, 20);
    for _ in 0..3 {
        let error = client.request("NODE", "echo").host(deaf.addr).send().unwrap_err();
        assert_eq!((error.number(), error.host()), (31, Some(deaf.addr)), "{error}");
        assert!(error.failure().unwrap().tried().is_empty(), "once is enough: {error}");
    }
    assert_eq!(client.request("NODE", "echo").host(good.addr).send().unwrap().host(), Some(good.addr));
    assert_eq!(client.connection("NODE").host(deaf.addr).connect().unwrap_err().host(), Some(deaf.addr));
}

/// A dialogue: its calls stay with one host, or fail.
#[test]
fn a_dialogue_stays_with_its_host() {
    let servers: Vec<_> = (0..3_u8)
        .map(|number| {
            Server::answering(move |asked| match &asked.body[..] {
                b"refuse" => Reply::of(Execution::Rejected(RejectReason::Busy), b""),
                _ => Reply::ok(&[number]),
            })
        })
        .collect();
    let client = client(&addrs(&servers));
    let mut dialogue = client.connection("NODE").pinned().connect().unwrap();
    let host = dialogue.host();
    let first = dialogue.call("echo", b"").unwrap().into_vec();
    assert_eq!(dialogue.call("echo", b"refuse").unwrap_err().state(), State::NotSent);
    for _ in 0..50 {
        let response = dialogue.call("echo", b"").unwrap();
        assert_eq!((&*response, response.host()), (&first[..], host));
    }

    let mut free = client.connect("NODE").unwrap();
    let host = free.host();
    let error = free.call_with("echo").body("refuse").pinned().send().unwrap_err();
    assert_eq!((error.state(), error.host()), (State::NotSent, host));
    assert_eq!(free.host(), host, "the connection is still there");
    // Not pinned it goes on to the others, which refuse too.
    let error = free.call("echo", b"refuse").unwrap_err();
    assert_eq!(error.failure().unwrap().tried().len(), 2, "{error}");
}

/// Also when the host is gone: the next call of the dialogue fails rather than begin anew elsewhere.
#[test]
fn a_pinned_call_goes_to_no_other_host_when_its_own_is_gone() {
    let dying = Server::treating(|stream| {
        let asked = support::read_request(stream).unwrap();
        stream.write_all(&support::answer_bytes(&asked, &Reply::ok(b"mine"))).unwrap();
    });
    let other = Server::echo();
    let client = builder(&[dying.addr, other.addr]).balancer(InOrder).build().unwrap();
    let mut dialogue = client.connect("NODE").unwrap();
    dialogue.call("echo", b"").unwrap();
    let addr = dying.addr;
    drop(dying);
    support::eventually("the host is gone", || std::net::TcpStream::connect(addr).is_err());
    for _ in 0..3 {
        let error = dialogue.call_with("echo").pinned().send().unwrap_err();
        assert_eq!(error.host(), Some(addr), "{error}");
    }
    assert_eq!(other.accepted(), 0);
    assert_eq!(dialogue.call("echo", b"free").unwrap().host(), Some(other.addr));
}

fn view(hosts: &[(SocketAddr, bool)]) -> View {
    let hosts = hosts.iter().map(|&(addr, invalid)| ViewHost { addr, invalid }).collect();
    let app = |name: &str, invalid| ViewApp {
        name: name.to_owned(),
        desc: String::new(),
        bin: String::new(),
        timeout_ms: 5_000,
        timeout2_ms: 5_000,
        invalid,
        server_node: String::new(),
    };
    View {
        this_node: "TESTER".to_owned(),
        connecting_timeout_ms: 2_000,
        retry_connect_ms: 30_000,
        min_compress_size: 0,
        registry: None,
        access: Access::Open,
        nodes: vec![ViewNode { name: "NODE".to_owned(), invalid: false, hosts, key: None }],
        apps: vec![app("echo", false), app("off", true)],
        projects: vec![],
        kv: vec![],
    }
}

#[test]
fn what_is_invalid_is_never_chosen() {
    let (off, good) = (Server::echo(), Server::echo());
    let client_only: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut view = view(&[(off.addr, true), (client_only, false), (good.addr, false)]);
    let off_node = ViewNode {
        name: "OFF".to_owned(),
        invalid: true,
        hosts: vec![ViewHost { addr: good.addr, invalid: false }],
        key: None,
    };
    view.nodes.push(off_node);
    for client in [
        Client::builder().view(view.clone()).build().unwrap(),
        Client::builder().view(view.clone()).balancer(LeastLoaded).build().unwrap(),
    ] {
        assert_eq!(shares(&client, 100), HashMap::from([(good.addr, 100)]));
        assert_eq!(client.connect("NODE").unwrap().host(), Some(good.addr));
        assert_eq!(client.request("OFF", "echo").send().unwrap_err().number(), 12);
        assert_eq!(client.connect("OFF").unwrap_err().number(), 12);
        assert_eq!(client.request("NODE", "off").send().unwrap_err().number(), 14);
        assert_eq!(client.request("NODE", "echo").host(off.addr).send().unwrap_err().number(), 21);
        assert_eq!(client.request("NODE", "echo").host(client_only).send().unwrap_err().number(), 16);
    }
    assert_eq!(off.accepted(), 0);

    view.nodes[0].hosts.truncate(2);
    let client = Client::builder().view(view).build().unwrap();
    let error = client.request("NODE", "echo").send().unwrap_err();
    assert!(error.to_string().contains("of 2 hosts 2 invalid"), "{error}");
}

/// A long connection follows the configuration: to another host, or to none.
#[test]
fn a_connection_follows_a_change_of_the_configuration() {
    let (old, new) = (Server::echo(), Server::echo());
    let client = Client::builder().view(view(&[(old.addr, false)])).build().unwrap();
    let mut connection = client.connect("NODE").unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(old.addr));
    // In another place, still there: the connection stays.
    client.reader().replace(&view(&[(new.addr, false), (old.addr, false)])).unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(old.addr));
    assert_eq!(old.accepted(), 1);
    client.reader().replace(&view(&[(new.addr, false), (old.addr, true)])).unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(new.addr));
    let mut off = view(&[(new.addr, false)]);
    off.nodes[0].invalid = true;
    client.reader().replace(&off).unwrap();
    assert_eq!(connection.call("echo", b"").unwrap_err().number(), 12);
    client.reader().replace(&view(&[(new.addr, false)])).unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(new.addr));
}

#[test]
fn a_node_of_many_hosts_needs_no_look_at_each() {
    let good = Server::echo();
    let mut hosts: Vec<_> =
        (0..10_000_u32).map(|number| (SocketAddr::from((number.to_be_bytes(), 1)), true)).collect();
    hosts.push((good.addr, false));
    let client = Client::builder().view(view(&hosts)).build().unwrap();
    // One usable host in 10,001 is found.
    assert_eq!(shares(&client, 20), HashMap::from([(good.addr, 20)]));
}
