//! Files as memory: the only place where this crate maps segments.
//!
//! All sizes are checked here against the files' before anything is mapped, so that no access lies beyond the
//! end of a file (which would be a SIGBUS). A process of the same user that shortens a file afterwards cannot
//! be defended against.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::board::BoardHeader;
use crate::image::Image;
use crate::image::layout::Header;
use crate::index::{INDEX_LEN, Index, WritableIndex};
use crate::slot::Line;

/// An address range of its own, unmapped when dropped.
#[derive(Debug)]
struct Range {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: a range is memory of the process, not of a thread; what lies in it is handed out by the types
// below, which see to it that shared access to it is sound.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

impl Range {
    /// Reserves addresses that cannot be accessed yet.
    fn reserve(len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        // SAFETY (of the value, not of the call): the kernel never maps at address 0 without being asked to.
        let base = NonNull::new(base).ok_or(Errno::NOMEM)?;
        Ok(Range { base, len })
    }

    /// Maps a file over `at .. at + len` of the range. Both are checked; `at` has to be a multiple of the
    /// page size.
    fn place(&mut self, at: usize, fd: BorrowedFd<'_>, len: usize, protection: ProtFlags) -> io::Result<()> {
        let page = rustix::param::page_size();
        let end = len.checked_next_multiple_of(page).and_then(|len| at.checked_add(len));
        if !at.is_multiple_of(page) || len == 0 || end.is_none_or(|end| end > self.len) {
            return Err(Errno::INVAL.into());
        }
        if rustix::fs::fstat(fd)?.st_size.unsigned_abs() < len as u64 {
            // Never access beyond the end of a file.
            return Err(Errno::OVERFLOW.into());
        }
        // SAFETY: the target lies in this range (checked above), which nobody has a reference into: we hold
        // it mutably.
        unsafe {
            let target = self.base.as_ptr().byte_add(at);
            rustix::mm::mmap(target, len, protection, MapFlags::SHARED | MapFlags::FIXED, fd, 0)?;
        }
        Ok(())
    }

    /// Keys do not belong into a core dump. A segment that was unlinked, or never had a name, would be taken
    /// for the process's own memory and written there.
    fn keep_out_of_core_dumps(&mut self) {
        // SAFETY: the advice changes what a core dump holds, and no access. A kernel that does not know it
        // refuses.
        let _ =
            unsafe { rustix::mm::madvise(self.base.as_ptr(), self.len, rustix::mm::Advice::LinuxDontDump) };
    }

    fn of_file(fd: BorrowedFd<'_>, len: usize, protection: ProtFlags) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let mut range = Range::reserve(len.checked_next_multiple_of(page).ok_or(Errno::OVERFLOW)?)?;
        range.place(0, fd, len, protection)?;
        Ok(range)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range is ours alone, and every reference into it borrows from its owner, which ends
        // here. A failure would leave it mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr(), self.len) };
    }
}

/// The index, mapped for a reader.
#[derive(Debug)]
pub(crate) struct IndexMapping(Range);

impl IndexMapping {
    pub fn new(fd: impl AsFd) -> io::Result<Self> {
        Range::of_file(fd.as_fd(), INDEX_LEN as usize, ProtFlags::READ).map(IndexMapping)
    }
}

impl Deref for IndexMapping {
    type Target = Index;

    fn deref(&self) -> &Index {
        // SAFETY: the mapping is page-aligned and INDEX_LEN bytes long, which is more than an `Index`. Any
        // bytes are a valid one. Its methods are `Relaxed` loads of 64 bits, which Rust allows on memory that
        // is mapped read-only.
        unsafe { self.0.base.cast::<Index>().as_ref() }
    }
}

/// The index, mapped for the publisher.
#[derive(Debug)]
pub(crate) struct WritableIndexMapping(Range);

impl WritableIndexMapping {
    pub fn new(fd: impl AsFd) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Range::of_file(fd.as_fd(), INDEX_LEN as usize, protection).map(WritableIndexMapping)
    }
}

impl Deref for WritableIndexMapping {
    type Target = WritableIndex;

    fn deref(&self) -> &WritableIndex {
        // SAFETY: as above; this mapping may be written to.
        unsafe { self.0.base.cast::<WritableIndex>().as_ref() }
    }
}

/// The load board, mapped for the publisher.
#[derive(Debug)]
pub(crate) struct BoardMapping(Range);

impl BoardMapping {
    pub fn new(fd: impl AsFd, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| Errno::OVERFLOW)?;
        if len < size_of::<BoardHeader>() {
            return Err(Errno::INVAL.into());
        }
        Range::of_file(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE).map(BoardMapping)
    }

    pub fn header(&self) -> &BoardHeader {
        // SAFETY: the mapping is page-aligned and at least as long as the header (checked in `new`); any
        // bytes are a valid header, and it is accessed by atomic operations only.
        unsafe { self.0.base.cast::<BoardHeader>().as_ref() }
    }

    pub fn lines(&self) -> &[Line] {
        // SAFETY: as for `header`; `lines_in` counts those that lie within the mapping.
        unsafe { lines_at(self.0.base, self.0.len) }
    }
}

/// One generation: `[load board, read-write][configuration, read-only]`, one directly after the other, so
/// that a host's record reaches its line by an offset alone.
#[derive(Debug)]
pub(crate) struct ConfigMapping {
    range: Range,
    board_len: usize,
    config_len: usize,
}

impl ConfigMapping {
    /// Maps the first `board_len` bytes of the board, a multiple of the page size, and all `config_len` bytes
    /// of the configuration.
    pub fn new(board: impl AsFd, board_len: u64, config: impl AsFd, config_len: u64) -> io::Result<Self> {
        let board_len = usize::try_from(board_len).map_err(|_| Errno::OVERFLOW)?;
        let config_len = usize::try_from(config_len).map_err(|_| Errno::OVERFLOW)?;
        let page = rustix::param::page_size();
        let total = config_len.checked_next_multiple_of(page).and_then(|len| len.checked_add(board_len));
        let mut range = Range::reserve(total.ok_or(Errno::OVERFLOW)?)?;
        range.place(0, board.as_fd(), board_len, ProtFlags::READ | ProtFlags::WRITE)?;
        range.place(board_len, config.as_fd(), config_len, ProtFlags::READ)?;
        range.keep_out_of_core_dumps();
        // For `image_around`.
        range.base.as_ptr().expose_provenance();
        Ok(ConfigMapping { range, board_len, config_len })
    }

    pub fn config(&self) -> &[u8] {
        // SAFETY: `new` mapped `config_len` readable bytes there. They do not change: a segment is complete
        // before it has a name, and nobody writes to it after.
        unsafe {
            let start = self.range.base.byte_add(self.board_len).cast::<u8>();
            std::slice::from_raw_parts(start.as_ptr(), self.config_len)
        }
    }

    pub fn board_header(&self) -> &BoardHeader {
        // SAFETY: the board is mapped for at least a page; any bytes are a valid header, and it is accessed
        // by atomic operations only.
        unsafe { self.range.base.cast::<BoardHeader>().as_ref() }
    }

    pub fn lines(&self) -> &[Line] {
        // SAFETY: `new` mapped `board_len` readable and writable bytes at the start of the range.
        unsafe { lines_at(self.range.base, self.board_len) }
    }
}

/// What lies around a record of a [`ConfigMapping`], and the record's offset, with which it begins.
///
/// # Safety
/// `record` points to a record in the configuration of a `ConfigMapping` that lives for the lifetime that the
/// caller gives the result, and the record begins with its own offset. The mapping's header was checked
/// against its size.
pub(crate) unsafe fn image_around<'a>(record: *const c_void) -> (Image<'a>, u32) {
    // SAFETY: a record has more than four bytes, and is aligned to four.
    let at = unsafe { record.cast::<u32>().read() };
    // A pointer to one record has no right to the bytes around it; the mapping's, which was exposed, has.
    let start = std::ptr::with_exposed_provenance::<u8>(record.addr() - at as usize);
    // SAFETY: the configuration begins with its header, aligned to a page.
    let header = unsafe { start.cast::<Header>().as_ref_unchecked() };
    let (config_len, board_len) = (header.file_len as usize, header.board_len as usize);
    // SAFETY: these are the lengths with which the mapping was made: the configuration after the board. See
    // `ConfigMapping::config` and `ConfigMapping::lines`.
    unsafe {
        let bytes = std::slice::from_raw_parts(start, config_len);
        let board = std::ptr::with_exposed_provenance_mut::<c_void>(start.addr() - board_len);
        (Image { bytes, lines: lines_at(NonNull::new_unchecked(board), board_len) }, at)
    }
}

/// The lines of a board of `len` bytes at `base`.
///
/// # Safety
/// `base` is aligned to 64 bytes, and `len` bytes at it are mapped read-write for the lifetime that the
/// caller gives the result.
unsafe fn lines_at<'a>(base: NonNull<c_void>, len: usize) -> &'a [Line] {
    let count = (len / size_of::<Line>()).saturating_sub(1);
    // SAFETY: the lines follow the header, which has the size of one, and end within `len`; any bytes are
    // valid lines, and they are accessed by atomic operations only.
    unsafe { std::slice::from_raw_parts(base.cast::<Line>().add(1).as_ptr(), count) }
}
