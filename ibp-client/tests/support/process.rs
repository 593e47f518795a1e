//! Real processes in tests: forked children, and this test program run again in another role.

use std::process::{Command, Stdio};

/// Says in which role the test program runs; the rest of the line is the role's argument.
const ROLE: &str = "IBP_TEST_ROLE";

/// The argument of this process's role, if that is `role`.
pub fn role(role: &str) -> Option<String> {
    let value = std::env::var(ROLE).ok()?;
    let (name, argument) = value.split_once(' ')?;
    (name == role).then(|| argument.to_owned())
}

/// Whether this process is another one's helper: tests that start helpers return at once then.
pub fn is_helper() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// This program again, to run the test `test` alone, in a role.
pub fn again(test: &str, role: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ROLE, format!("{role} {argument}")).stdin(Stdio::null());
    command
}

/// Runs `child` in a forked process; `true` if it returned `true`.
pub fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `child` and ends without returning to what other threads may have left half done. It uses the
    // allocator, which the C library makes usable after a fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends the process.
        unsafe { libc::_exit(if matches!(result, Ok(true)) { 0 } else { 1 }) }
    }
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
    }
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}
