//! Making processes: the ordinary `fork`, and a child that shares its parent's descriptor table.

use std::io;

use libc::{c_int, c_long, c_ulong, pid_t};
use rustix::process::Pid;

/// In which of the two processes a fork returned.
pub(crate) enum Fork {
    /// In the parent, with the child's id.
    Parent(Pid),
    /// In the child.
    Child,
}

/// How many threads this process has.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// `fork(2)`. Refused when the process has more than one thread, since only the calling one would be in the child,
/// and whatever the others held locked would stay locked.
pub(crate) fn fork() -> io::Result<Fork> {
    only_thread()?;
    // SAFETY: there is no other thread (just checked), so the child is a complete copy and may go on as if it were
    // the parent.
    which(unsafe { libc::fork() })
}

/// Forks a child that has its own copy of the memory but **shares the descriptor table** (`CLONE_FILES`): what one
/// opens or closes, the other sees; and when the child is killed, everything it had open is still open here.
///
/// The C library's `fork` cannot do that, so this is the bare system call, with what the C library relies on done by
/// hand: the thread id it caches is set in the child, and the list of robust locks is registered again. Handlers of
/// `pthread_atfork` do not run.
pub(crate) fn fork_sharing_descriptors() -> io::Result<Fork> {
    only_thread()?;
    let thread_id = thread_id_address();
    let robust = robust_list();
    let mut flags = libc::CLONE_FILES | libc::SIGCHLD;
    if thread_id != 0 {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    // x86-64: clone(flags, stack, parent_tid, child_tid, tls); aarch64 swaps the last two. A null stack means: the
    // child goes on with a copy of this one.
    #[cfg(target_arch = "x86_64")]
    let (fourth, fifth) = (thread_id, 0);
    #[cfg(not(target_arch = "x86_64"))]
    let (fourth, fifth) = (0, thread_id);
    // SAFETY: there is no other thread; without CLONE_VM and with a null stack the child runs on a copy of this
    // memory, exactly as after fork(2). `thread_id` is the address that the kernel already clears for this thread,
    // so it may be written in the child's copy, too.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            c_long::from(flags),
            0 as c_ulong,
            0 as c_ulong,
            fourth as c_ulong,
            fifth as c_ulong,
        )
    };
    let fork = which(pid as pid_t)?;
    if let (Fork::Child, Some((head, length))) = (&fork, robust) {
        // SAFETY: head and length are what the C library registered for this thread; the copy lies at the same
        // address in the child.
        unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
    }
    Ok(fork)
}

fn only_thread() -> io::Result<()> {
    match thread_count()? {
        1 => Ok(()),
        count => Err(io::Error::other(format!(
            "this process has {count} threads and may not fork: start the platform before any thread"
        ))),
    }
}

fn which(pid: pid_t) -> io::Result<Fork> {
    match pid {
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid.max(0)).map(Fork::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// Where the C library caches this thread's id; 0 when the kernel cannot tell.
fn thread_id_address() -> usize {
    let mut address = 0_usize;
    // SAFETY: PR_GET_TID_ADDRESS writes one pointer to the given place.
    let result: c_int = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if result == 0 { address } else { 0 }
}

fn robust_list() -> Option<(usize, usize)> {
    let (mut head, mut length) = (0_usize, 0_usize);
    // SAFETY: get_robust_list writes a pointer and a length for the calling thread (0).
    let result = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    (result == 0 && head != 0).then_some((head, length))
}

/// Ends this process at once: no destructor, no exit handler. For a forked child, whose exit handlers and buffers
/// belong to its parent.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(status) }
}
