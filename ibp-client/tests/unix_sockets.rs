//! The platform on the same machine is asked over its Unix socket, if that is there and can be trusted.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use ibp_core::wire::{Limits, TransactionId};
use support::process::{again, is_helper, role};
use support::{Asked, Reply, Server, builder, client};

fn answer(asked: &Asked) -> Reply {
    Reply::ok(&asked.body)
}

/// An echo server at both ends.
fn at_both(directory: &Path) -> Server {
    let server = Server::answering(answer);
    server.also_at(directory, answer);
    server
}

#[test]
fn a_platform_on_this_machine_is_asked_over_its_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let server = at_both(directory.path());
    let client = builder(&[server.addr]).unix_sockets_in(directory.path()).build().unwrap();
    let mut connection = client.connect("NODE").unwrap();
    assert!(connection.is_local());
    for size in [0, 100, 10_000, 10 << 20] {
        let body = vec![9; size];
        assert!(*connection.call("echo", &body).unwrap() == *body);
        let response = client.request("NODE", "echo").body(&body).send().unwrap();
        assert!(*response == *body);
        assert_eq!(response.host(), Some(server.addr), "the host is named by its address");
    }
    assert_eq!((server.accepted(), server.accepted_unix()), (0, 5));
    assert!(client.ask_outcome("NODE", server.addr, response_id()).is_ok());
    assert_eq!((server.accepted(), server.accepted_unix()), (0, 6));
}

fn response_id() -> TransactionId {
    TransactionId([1; 16])
}

#[test]
fn tcp_only_uses_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let server = at_both(directory.path());
    let client = builder(&[server.addr]).unix_sockets_in(directory.path()).tcp_only().build().unwrap();
    client.request("NODE", "echo").send().unwrap();
    assert!(!client.connect("NODE").unwrap().is_local());
    assert_eq!(server.accepted_unix(), 0);
}

#[test]
fn without_a_socket_or_with_a_dead_one_it_goes_over_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::echo();
    let path = directory.path().join(format!("ibas.{}.sock", server.addr));
    let client = || builder(&[server.addr]).unix_sockets_in(directory.path()).build().unwrap();
    assert_eq!(&*client().request("NODE", "echo").body("none").send().unwrap(), b"none");
    // What a killed platform leaves.
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(&*client().request("NODE", "echo").body("dead").send().unwrap(), b"dead");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"no socket").unwrap();
    assert_eq!(&*client().request("NODE", "echo").body("file").send().unwrap(), b"file");
    let nowhere = builder(&[server.addr]).unix_sockets_in("/nonexistent").build().unwrap();
    assert_eq!(&*nowhere.request("NODE", "echo").body("nowhere").send().unwrap(), b"nowhere");
    let long = builder(&[server.addr]).unix_sockets_in("/d".repeat(100)).build().unwrap();
    assert_eq!(&*long.request("NODE", "echo").body("long").send().unwrap(), b"long");
    assert_eq!(server.accepted(), 5);
}

/// That there is none is remembered for a second, not for ever.
#[test]
fn a_socket_that_comes_later_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::answering(answer);
    let client = builder(&[server.addr]).unix_sockets_in(directory.path()).build().unwrap();
    client.request("NODE", "echo").send().unwrap();
    server.also_at(directory.path(), answer);
    client.request("NODE", "echo").send().unwrap();
    assert_eq!(server.accepted_unix(), 0, "not looked for again at once");
    support::eventually("the Unix socket is used", || {
        client.request("NODE", "echo").send().unwrap();
        server.accepted_unix() > 0
    });
}

/// A socket that another user put there is not spoken to.
#[test]
fn a_socket_of_another_user_is_not_trusted() {
    const NOBODY: u32 = 65_534;
    if let Some(path) = role("stranger") {
        let listener = UnixListener::bind(path).unwrap();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = support::serve(&mut stream, &Limits::default(), |_| Reply::ok(b"theirs"));
        }
        return;
    }
    if is_helper() {
        return;
    }
    // SAFETY: has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: only root can run a server of another user");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let server = Server::answering(answer);
    let path = directory.path().join(format!("ibas.{}.sock", server.addr));
    let _stranger = stranger(path.to_str().unwrap(), NOBODY);
    // Its path is there before it listens.
    support::eventually("the stranger's socket", || std::os::unix::net::UnixStream::connect(&path).is_ok());
    let ask = || {
        let client = builder(&[server.addr]).unix_sockets_in(directory.path()).build().unwrap();
        client.request("NODE", "echo").body("mine").send().unwrap().into_vec()
    };
    assert_eq!(ask(), b"mine");
    assert_eq!(server.accepted(), 1, "over TCP");
    // The directory's owner is trusted, whoever it is.
    chown(directory.path(), Some(NOBODY), None).unwrap();
    assert_eq!(ask(), b"theirs");
}

/// A process that ends with the test, also with one that fails.
struct Stranger(std::process::Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program again as another user, from a place where that user can run it.
fn stranger(path: &str, uid: u32) -> Stranger {
    use std::os::unix::process::CommandExt;
    let scratch = std::env::temp_dir().join(format!("ibp-stranger-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &scratch).unwrap();
    std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o755)).unwrap();
    let template = again("a_socket_of_another_user_is_not_trusted", "stranger", path);
    let mut command = std::process::Command::new(&scratch);
    command
        .args(template.get_args())
        .envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let stranger = Stranger(command.current_dir("/").uid(uid).gid(uid).spawn().unwrap());
    support::eventually("the program is running", || std::fs::remove_file(&scratch).is_ok());
    stranger
}

#[test]
fn a_static_client_without_a_directory_uses_tcp() {
    let server = Server::echo();
    assert!(!client(&[server.addr]).connect("NODE").unwrap().is_local());
}
