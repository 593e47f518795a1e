//! Hearing of changes of files.
//!
//! Directories are watched, not files: a file that is replaced is another one, and one that is not there yet can come.
//! Events are hints. An overflow of the queue, a directory that goes, an event without a name: all mean "look again".

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::files;

/// Watches some files.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    /// The watched directories.
    directories: BTreeMap<PathBuf, i32>,
    /// The names of the watched files, whatever their directory: a few events too many do no harm.
    names: BTreeSet<OsString>,
}

impl Watch {
    pub fn new() -> rustix::io::Result<Watch> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Watch { inotify, directories: BTreeMap::new(), names: BTreeSet::new() })
    }

    /// Watches these files, and no others. Watches that go on are not interrupted. For a link the file that it leads to is watched, too.
    pub fn set(&mut self, paths: &[&Path]) -> rustix::io::Result<()> {
        let mut wanted = BTreeSet::new();
        self.names.clear();
        for path in paths.iter().flat_map(|path| [path.to_path_buf(), files::real(path)]) {
            self.names.extend(path.file_name().map(OsString::from));
            if let Some(directory) = path.parent() {
                wanted.insert(directory.to_owned());
            }
        }
        let unwanted: Vec<PathBuf> =
            self.directories.keys().filter(|directory| !wanted.contains(*directory)).cloned().collect();
        for directory in unwanted {
            if let Some(watch) = self.directories.remove(&directory) {
                // It may be gone by itself.
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
        }
        let mut failed = None;
        for directory in wanted {
            // Watching a directory again is no second watch, and puts right one that was lost.
            match inotify::add_watch(&self.inotify, &directory, WATCHED | WatchFlags::ONLYDIR) {
                Ok(watch) => drop(self.directories.insert(directory, watch)),
                // A directory that is not there: the file is not either.
                Err(Errno::NOENT) => drop(self.directories.remove(&directory)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes all events; whether one of them may concern a watched file.
    pub fn take(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut concerned = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()));
                    // Of a directory that is watched no more comes a last event, which concerns nobody.
                    let watched = self.directories.values().any(|watch| *watch == event.wd());
                    let named = name.is_none_or(|name| self.names.contains(name));
                    concerned |= event.events().contains(ReadFlags::QUEUE_OVERFLOW) || (watched && named);
                }
                Err(Errno::INTR) => {}
                Err(_) => return concerned,
            }
        }
    }
}

/// A file that was written, replaced, renamed, removed, or given other permissions; a directory that goes.
const WATCHED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
