//! Signals: as readable events for the manager and the keepers, as a flag for a worker.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, sigset_t};

/// A descriptor that becomes readable when one of the chosen signals came; they are blocked otherwise.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Blocks these signals and collects them.
    pub(crate) fn collect(signals: &[c_int]) -> io::Result<Self> {
        let set = set_of(signals);
        // SAFETY: `set` is initialised; SIG_BLOCK only adds to this thread's mask.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: `set` is initialised.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd gave this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// The next signal that came; `None` when there is none.
    pub(crate) fn next(&self) -> Option<c_int> {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let length = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has room for `length` bytes.
        let got = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), length) };
        if got != length as isize {
            return None;
        }
        // SAFETY: the kernel filled all of it, and any bytes are a valid value.
        Some(unsafe { info.assume_init() }.ssi_signo as c_int)
    }
}

static ENDING: AtomicBool = AtomicBool::new(false);

extern "C" fn note_ending(_signal: c_int) {
    ENDING.store(true, Ordering::Relaxed);
}

/// Makes this process a worker as far as signals go: TERM sets [`is_ending`], INT (which a terminal sends to the whole
/// group) and PIPE are ignored, everything else is as in a new process, and nothing is blocked.
pub(crate) fn become_worker() {
    ENDING.store(false, Ordering::Relaxed);
    // SAFETY: the handler only stores to an atomic, which is async-signal-safe; the dispositions set here concern
    // nobody else in this process, which has one thread.
    unsafe {
        set_handler(libc::SIGTERM, note_ending as *const () as libc::sighandler_t);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        for signal in [libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let none = set_of(&[]);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Makes this process a keeper as far as signals go: it ends when its work is done, not when it is asked to.
pub(crate) fn become_keeper() {
    // SAFETY: ignoring a signal has no precondition; this process has one thread.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGPIPE]
        {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let none = set_of(&[]);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Whether this worker was asked to end (TERM).
pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// # Safety
/// `handler` must be async-signal-safe.
unsafe fn set_handler(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: a zeroed sigaction is a valid value to fill in.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // System calls of an app are not to see EINTR for it.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is complete; the caller vouches for the handler.
    unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

fn set_of(signals: &[c_int]) -> sigset_t {
    let mut set = std::mem::MaybeUninit::<sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; the numbers are constants of valid signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}
