//! Telling, without a system call, that the process is a forked one.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Knows whether the process has been forked since the watch was set.
///
/// A library that holds connections must not use them in a forked child. Asking the kernel for the process id
/// each time would cost a system call; this is a load from a page that the kernel clears in every child
/// (`MADV_WIPEONFORK`, Linux 4.14).
///
/// ```
/// let watch = ibp_shm::ForkWatch::new()?;
/// let here = watch.current();
/// // ... as long as this holds, it is the same process:
/// assert_eq!(watch.current(), here);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ForkWatch {
    word: NonNull<AtomicU64>,
}

// SAFETY: the word is memory of the process, not of a thread, and is accessed by atomic operations only.
unsafe impl Send for ForkWatch {}
// SAFETY: as above.
unsafe impl Sync for ForkWatch {}

impl ForkWatch {
    /// Sets a watch in this process.
    ///
    /// # Errors
    /// The system's error if there is no memory, or the kernel is older than Linux 4.14.
    pub fn new() -> io::Result<Self> {
        let page = rustix::param::page_size();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), page, protection, MapFlags::PRIVATE)? };
        let watch = ForkWatch { word: NonNull::new(base.cast()).ok_or(Errno::NOMEM)? };
        // SAFETY: the page was just mapped, and holds nothing but the word, of which any value is a valid
        // one.
        unsafe { rustix::mm::madvise(base, page, Advice::LinuxWipeOnFork)? };
        watch.renew();
        Ok(watch)
    }

    /// The number that [`renew`](ForkWatch::renew) gave this process; 0 in a forked child that has not called
    /// it.
    #[inline]
    #[must_use]
    pub fn current(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }

    /// Gives this process a number that its parent does not have: never 0.
    pub fn renew(&self) -> u64 {
        static RENEWALS: AtomicU64 = AtomicU64::new(0);
        let renewal = RENEWALS.fetch_add(1, Ordering::Relaxed);
        // A child goes on counting where its parent was, and has another process id.
        let id = (renewal << 32 | u64::from(std::process::id())).max(1);
        self.word().store(id, Ordering::Relaxed);
        id
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: `new` mapped a page there, aligned and zeroed; it stays mapped until `drop`.
        unsafe { self.word.as_ref() }
    }
}

impl Drop for ForkWatch {
    fn drop(&mut self) {
        // SAFETY: the page is ours alone, and references into it borrow from `self`. A failure leaves it
        // mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.word.as_ptr().cast(), rustix::param::page_size()) };
    }
}
