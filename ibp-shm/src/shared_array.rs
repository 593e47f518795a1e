//! Arrays that a process shares with the processes it forks.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use zerocopy::FromBytes;

/// An array in memory that is shared with every process forked after it was made.
///
/// All processes see one another's stores; it begins as zeros. Only shared references to its elements exist,
/// so that they are changed through atomics. The memory lives as long as a process has it.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let counters = ibp_shm::SharedArray::<AtomicU32>::new("counters", 4)?;
/// counters[3].fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counters[3].load(Ordering::Relaxed), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SharedArray<T> {
    base: NonNull<T>,
    len: usize,
}

// SAFETY: the array is memory of the process, not of a thread, and hands out `&T` only.
unsafe impl<T: Sync> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedArray<T> {}

impl<T: FromBytes + Sync> SharedArray<T> {
    /// Makes an array of `len` elements. `name` is what `/proc/PID/maps` shows. Pages are allocated when they
    /// are first touched.
    ///
    /// # Errors
    /// The system's error if there is no memory or the array would be too large; `EINVAL` for an array
    /// without bytes.
    pub fn new(name: &str, len: usize) -> io::Result<Self> {
        Self::make(name, len, false)
    }

    /// The same with all pages allocated now, so that no access can fail later. The caller bounds the length:
    /// an array larger than the machine's free memory is no error here, but the end of some process.
    ///
    /// # Errors
    /// As for [`new`](SharedArray::new); `ENOSPC` or `ENOMEM` if there is no room for all of it.
    pub fn allocated(name: &str, len: usize) -> io::Result<Self> {
        Self::make(name, len, true)
    }

    fn make(name: &str, len: usize, allocate: bool) -> io::Result<Self> {
        const {
            assert!(!std::mem::needs_drop::<T>(), "nobody would drop the elements");
            assert!(align_of::<T>() <= 4096, "a page is the largest alignment there is");
        }
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        let bytes = bytes.ok_or(Errno::OVERFLOW)?;
        if bytes == 0 {
            return Err(Errno::INVAL.into());
        }
        let fd = sealed_memory(name, bytes as u64, allocate)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists. The file
        // behind it has this size, and is sealed so that it keeps it.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        let base = NonNull::new(base.cast::<T>()).ok_or(Errno::NOMEM)?;
        Ok(SharedArray { base, len })
    }
}

/// An anonymous file of a size that nobody can change.
fn sealed_memory(name: &str, bytes: u64, allocate: bool) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, bytes)?;
    if allocate {
        // Unlike a write, it does not go on by itself after a signal.
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes))?;
    }
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

impl<T> Deref for SharedArray<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `make` mapped `len` elements, page-aligned. `T: FromBytes` makes any bytes, zeros and
        // whatever another process stored, valid elements; other processes have `&T` only, as this one.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and references into it borrow from `self`. A failure leaves it
        // mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len * size_of::<T>()) };
    }
}

impl<T> std::fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedArray").field("len", &self.len).finish_non_exhaustive()
    }
}
