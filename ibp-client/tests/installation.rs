//! Clients of an installation, whose agent publishes the configuration.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use ibp_client::{Client, Error, State};
use ibp_core::config::{Access, View, ViewApp, ViewHost, ViewNode};
use ibp_shm::{Directory, Publisher, PublisherOptions};
use support::process::{again, is_helper, role};
use support::{Reply, Server};

fn view(hosts: &[SocketAddr]) -> View {
    let hosts = hosts.iter().map(|&addr| ViewHost { addr, invalid: false }).collect();
    View {
        this_node: "CORE".to_owned(),
        connecting_timeout_ms: 2_000,
        retry_connect_ms: 30_000,
        min_compress_size: 0,
        registry: None,
        access: Access::Open,
        nodes: vec![ViewNode { name: "ECIF".to_owned(), invalid: false, hosts, key: None }],
        apps: vec![ViewApp {
            name: "echo".to_owned(),
            desc: String::new(),
            bin: String::new(),
            timeout_ms: 4_000,
            timeout2_ms: 6_000,
            invalid: false,
            server_node: "ECIF".to_owned(),
        }],
        projects: vec![],
        kv: vec![],
    }
}

fn publisher(path: &Path, view: &View) -> Publisher {
    let mut publisher = Publisher::open(&Directory::at(path), PublisherOptions::default()).unwrap();
    publisher.publish(view).unwrap();
    publisher
}

#[test]
fn an_installation_gives_nodes_apps_and_timeouts() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("segments");
    let server = Server::answering(|asked| {
        assert!((3_000..=4_000).contains(&asked.remaining_ms), "{}", asked.remaining_ms);
        Reply::ok(asked.client_node.as_bytes())
    });
    let _publisher = publisher(&path, &view(&[server.addr]));
    let client = Client::attach(&Directory::at(&path)).unwrap();
    assert_eq!(client.this_node(), "CORE");
    assert_eq!(&*client.request("ECIF", "echo").send().unwrap(), b"CORE");
    assert_eq!(&*client.request_app("echo").send().unwrap(), b"CORE");
    // An app that it does not have is refused before anybody is asked.
    let error = client.request("ECIF", "unknown").send().unwrap_err();
    assert_eq!((error.state(), error.number(), error.is_retryable()), (State::NotSent, 13, false), "{error}");
    let mut connection = client.connect("ECIF").unwrap();
    assert_eq!(connection.call("unknown", b"").unwrap_err().number(), 13);
    assert_eq!(
        connection.call_with("unknown").timeout(Duration::from_secs(1)).send().unwrap_err().number(),
        13
    );
    assert_eq!(server.requests(), 2);
}

#[test]
fn a_new_configuration_holds_from_the_next_call_on() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("segments");
    let (old, new) = (Server::echo(), Server::echo());
    let mut publisher = publisher(&path, &view(&[old.addr]));
    let client = Client::attach(&Directory::at(&path)).unwrap();
    let mut connection = client.connect("ECIF").unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(old.addr));
    publisher.publish(&view(&[new.addr])).unwrap();
    assert_eq!(client.request("ECIF", "echo").send().unwrap().host(), Some(new.addr));
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(new.addr));
    // The agent stops, or is killed: nothing changes for who is there.
    publisher.close().unwrap();
    assert_eq!(connection.call("echo", b"").unwrap().host(), Some(new.addr));
    assert!(matches!(Client::attach(&Directory::at(&path)), Err(Error::Attach(_))));
}

#[test]
fn the_unix_sockets_of_an_installation_lie_beside_its_segments() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("segments");
    let server = Server::echo();
    let _publisher = publisher(&path, &view(&[server.addr]));
    server.also_at(&path, |asked| Reply::ok(&asked.body));
    let client = Client::attach(&Directory::at(&path)).unwrap();
    assert!(client.connect("ECIF").unwrap().is_local());
    let tcp = Client::builder().tcp_only().attach(&Directory::at(&path)).unwrap();
    assert!(!tcp.connect("ECIF").unwrap().is_local());
}

/// `Client::open` looks at the environment, which this process cannot change safely: each case is a process of its own.
#[test]
fn an_installation_is_found_by_the_environment() {
    if let Some(name) = role("open") {
        match Client::open(&name) {
            Ok(client) => {
                println!("node {}: {:?}", client.this_node(), client.request_app("echo").send().map(|_| ()))
            }
            Err(error) => println!("number {}: {error}", error.number()),
        }
        return;
    }
    if is_helper() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("etc")).unwrap();
    let config = home.path().join("etc/ibma.conf");
    let server = Server::echo();
    let run = |name: &str, variables: &[(&str, &Path)]| -> String {
        let mut command = again("an_installation_is_found_by_the_environment", "open", name);
        command.env_remove("HOME").env_remove("IBP_HOME").envs(variables.iter().copied());
        let Output { status, stdout, .. } = command.output().unwrap();
        assert!(status.success());
        String::from_utf8(stdout).unwrap()
    };
    let said = |text: &str, expected: &str| assert!(text.contains(expected), "{expected:?} is not in {text}");
    let home_is = [("IBP_HOME", home.path())];

    said(&run("ibma.conf", &[]), "number 3: no installation: neither IBP_HOME nor HOME is set");
    said(&run("ibma.conf", &home_is), "number 3");
    std::fs::write(&config, "{ \"ibma\" : { \"this_node\" : ").unwrap();
    said(&run("ibma.conf", &home_is), "ibma.conf");
    std::fs::write(&config, r#"{ "ibma" : { "this_node" : "CORE" } }"#).unwrap();
    said(&run("ibma.conf", &home_is), "number 1");

    let directory = Directory::of_installation(home.path());
    let mut publisher = Publisher::open(&directory, PublisherOptions::default()).unwrap();
    publisher.publish(&view(&[server.addr])).unwrap();
    said(&run("ibma.conf", &home_is), "node CORE: Ok(())");
    said(&run("ibma.conf", &[("HOME", home.path())]), "node CORE: Ok(())");
    said(&run(config.to_str().unwrap(), &home_is), "node CORE: Ok(())");
    std::fs::write(&config, r#"{ "ibma" : { "this_node" : "OTHER" } }"#).unwrap();
    said(&run("ibma.conf", &home_is), "restart the agent");
    publisher.close().unwrap();
    let _ = std::fs::remove_dir_all(directory.path());

    // Where the settings say that the segments lie, the client looks, too.
    let elsewhere = home.path().join("segments");
    let text =
        format!(r#"{{ "ibma" : {{ "this_node" : "CORE" , "shm_directory" : "{}" }} }}"#, elsewhere.display());
    std::fs::write(&config, text).unwrap();
    let mut publisher = Publisher::open(&Directory::at(&elsewhere), PublisherOptions::default()).unwrap();
    publisher.publish(&view(&[server.addr])).unwrap();
    said(&run("ibma.conf", &home_is), "node CORE: Ok(())");
}

#[test]
fn settings_that_contradict_are_all_named() {
    let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let error = Client::builder()
        .this_node("no name")
        .node("NODE", [addr, addr])
        .node("NODE", [])
        .app("app", Duration::ZERO)
        .app_of_node("app", Duration::from_secs(1), "NONE")
        .build()
        .unwrap_err();
    let Error::Settings(problems) = &error else { panic!("{error}") };
    for expected in
        ["no name", "host 127.0.0.1:1 given twice", "node \"NODE\": given twice", "timeout of 0", "\"NONE\""]
    {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
    assert_eq!((error.number(), error.state()), (2, State::NotSent));

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("segments");
    let _publisher = publisher(&path, &view(&[addr]));
    let error = Client::builder()
        .node("NODE", [addr])
        .connecting_timeout(Duration::from_secs(1))
        .attach(&Directory::at(&path))
        .unwrap_err();
    let Error::Settings(problems) = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 2, "{problems:?}");
}
