//! Where the segments of an installation lie, and who may use them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::PublisherOptions;
use crate::error::ShmError;
use crate::image::hash;

/// The directory in which an installation's segments lie.
///
/// Other runtime files of the installation may lie in it too; this crate touches only its own: `index`,
/// `load` and `config.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
    owner: u32,
}

impl Directory {
    /// `/dev/shm/ibp-UID-DIGEST`: of the user that owns the installation's home directory, and of its
    /// canonical path (16 hexadecimal digits).
    ///
    /// The owner's and not the caller's user id, so that applications which run as other users find the same
    /// place. If `home` does not exist, the path as it is and the caller's user id are taken.
    #[must_use]
    pub fn of_installation(home: &Path) -> Self {
        let canonical = home.canonicalize().or_else(|_| std::path::absolute(home));
        let home = canonical.as_deref().unwrap_or(home);
        let owner = std::fs::metadata(home).map_or_else(|_| effective_user(), |metadata| metadata.uid());
        let digest = hash::hash(hash::DIRECTORY_SEED, home.as_os_str().as_bytes());
        Directory { path: PathBuf::from(format!("/dev/shm/ibp-{owner}-{digest:016x}")), owner }
    }

    /// Where the settings say (`shm_directory` of `ibma.conf`), or the installation's own directory. The agent, the platforms and
    /// the clients of an installation all find it so.
    #[must_use]
    pub fn configured(home: &Path, shm_directory: Option<&Path>) -> Directory {
        match shm_directory {
            Some(path) => Directory::at(path),
            None => Directory::of_installation(home),
        }
    }

    /// A directory of the caller's choice, for containers and tests. It has to belong to the caller, unless
    /// [`owned_by`](Directory::owned_by) says another user.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Directory { path: path.into(), owner: effective_user() }
    }

    /// The same directory, expected to belong to the user `uid`: what a reader names that runs as another
    /// user than the agent.
    #[must_use]
    pub fn owned_by(self, uid: u32) -> Self {
        Directory { owner: uid, ..self }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is missing: mode 0700, or 0750 and the group's if there is one. What is
    /// there already must be safe (see [`check`](Directory::check)); nothing is taken away from it but a
    /// group's access.
    ///
    /// # Errors
    /// [`ShmError::Insecure`] if something else is there, [`ShmError::Io`] if it cannot be made.
    pub fn create(&self, options: PublisherOptions) -> Result<(), ShmError> {
        // First, so that no directory is left in the way of its rightful owner.
        if self.owner != effective_user() {
            let problem = format!(
                "it is user {}'s, and the agent runs as user {}: run the agent as the owner of the installation",
                self.owner,
                effective_user()
            );
            return Err(ShmError::insecure(&self.path, problem));
        }
        match rustix::fs::mkdir(&self.path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(ShmError::io("create", &self.path, error)),
        }
        let opened = self.open()?;
        let mode = if options.group.is_some() { Mode::RWXU | Mode::RGRP | Mode::XGRP } else { Mode::RWXU };
        give_to_group(opened.fd.as_fd(), options.group, mode)
            .map_err(|error| ShmError::io("set group and mode of", &self.path, error))
    }

    /// Checks that the directory is one, is no link, belongs to the expected user, and that nobody else can
    /// write to it and nobody but a group can enter it.
    ///
    /// # Errors
    /// [`ShmError::NotThere`] or [`ShmError::Insecure`].
    pub fn check(&self) -> Result<(), ShmError> {
        self.open().map(drop)
    }

    /// Opens the directory, checked.
    pub(crate) fn open(&self) -> Result<OpenDirectory, ShmError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(CWD, &self.path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(ShmError::NotThere { path: self.path.clone() }),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(ShmError::insecure(&self.path, "it is no directory, and links are not followed"));
            }
            Err(error) => return Err(ShmError::io("open", &self.path, error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| ShmError::io("inspect", &self.path, error))?;
        check_owner_and_mode(&self.path, &stat, self.owner, DIRECTORY_MODES)?;
        Ok(OpenDirectory { fd, path: self.path.clone(), owner: self.owner })
    }
}

/// The modes that a file of each kind may have: the owner's alone, or with a group.
pub(crate) type Modes = [u32; 2];
const DIRECTORY_MODES: Modes = [0o700, 0o750];
/// Index and configurations: a group reads them.
pub(crate) const READ_MODES: Modes = [0o600, 0o640];
/// The load board: a group writes to it.
pub(crate) const WRITE_MODES: Modes = [0o600, 0o660];

/// A directory that was checked, and in which files are opened by name.
pub(crate) struct OpenDirectory {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
}

/// A file in the directory, checked for owner, mode and kind.
pub(crate) struct OpenFile {
    pub fd: OwnedFd,
    pub len: u64,
    pub path: PathBuf,
    pub inode: u64,
}

impl OpenDirectory {
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file that exists; `None` if there is none.
    pub fn open_file(&self, name: &str, write: bool, modes: Modes) -> Result<Option<OpenFile>, ShmError> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // NONBLOCK: a pipe of that name must not hold us up. It has no effect on files.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = self.path_of(name);
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(ShmError::insecure(&path, "it is a link, and links are not followed"));
            }
            Err(Errno::NXIO | Errno::ISDIR) => {
                return Err(ShmError::insecure(&path, "it is no ordinary file"));
            }
            Err(error) => return Err(ShmError::io("open", &path, error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| ShmError::io("inspect", &path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ShmError::insecure(&path, "it is no ordinary file"));
        }
        check_owner_and_mode(&path, &stat, self.owner, modes)?;
        // Negative sizes do not exist.
        Ok(Some(OpenFile { fd, len: stat.st_size.unsigned_abs(), path, inode: stat.st_ino }))
    }

    /// The inode that has this name; `None` if there is none.
    pub fn inode_of(&self, name: &str) -> Result<Option<u64>, ShmError> {
        match rustix::fs::statat(&self.fd, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(ShmError::io("inspect", &self.path_of(name), error)),
        }
    }

    /// Makes a new file, readable and writable by the owner alone, in place of a left-over of that name.
    pub fn create_file(&self, name: &str) -> Result<OpenFile, ShmError> {
        let path = self.path_of(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.remove(name)?;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| no_room_or("create", &path, 0, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| ShmError::io("inspect", &path, error))?;
        Ok(OpenFile { fd, len: 0, path, inode: stat.st_ino })
    }

    /// Gives a file its final name, in place of what has it; with `fresh`, `false` if something has it.
    pub fn rename(&self, from: &str, to: &str, fresh: bool) -> Result<bool, ShmError> {
        let result = if fresh {
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(&self.fd, from, &self.fd, to, flags)
        } else {
            rustix::fs::renameat(&self.fd, from, &self.fd, to)
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) if fresh => Ok(false),
            Err(error) => Err(no_room_or("rename", &self.path_of(from), 0, error)),
        }
    }

    /// Removes a file; nothing happens if there is none.
    pub fn remove(&self, name: &str) -> Result<(), ShmError> {
        match rustix::fs::unlinkat(&self.fd, name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(ShmError::io("remove", &self.path_of(name), error)),
        }
    }

    /// The names of all files.
    pub fn names(&self) -> Result<Vec<String>, ShmError> {
        let failed = |error| ShmError::io("list", &self.path, error);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Our own names are ASCII; another's may be anything.
            if let Some(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

impl OpenFile {
    /// Makes the file `len` bytes long with every byte allocated, so that no access to it can fail later.
    pub fn allocate(&mut self, len: u64) -> Result<(), ShmError> {
        if len > self.len {
            // Unlike a write, it does not go on by itself after a signal.
            let reserve = || rustix::fs::fallocate(&self.fd, rustix::fs::FallocateFlags::empty(), 0, len);
            match rustix::io::retry_on_intr(reserve) {
                Ok(()) => {}
                // A file system that cannot reserve: writing does it, too.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(self.len, len)?,
                Err(error) => return Err(no_room_or("allocate", &self.path, len, error)),
            }
            self.len = len;
        }
        Ok(())
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<(), ShmError> {
        let zeros = [0_u8; 4096];
        let mut at = from;
        while at < to {
            let len = (to - at).min(zeros.len() as u64) as usize;
            self.write(&zeros[..len], at)?;
            at += len as u64;
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), ShmError> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.fd, bytes, offset) {
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(no_room_or("write", &self.path, self.len, error)),
            }
        }
        Ok(())
    }

    /// Gives the file to the group with the wider of the modes, or to nobody.
    pub fn share(&self, group: Option<u32>, modes: Modes) -> Result<(), ShmError> {
        let mode = modes[usize::from(group.is_some())];
        give_to_group(self.fd.as_fd(), group, Mode::from_raw_mode(mode))
            .map_err(|error| ShmError::io("set group and mode of", &self.path, error))
    }
}

/// Sets group and mode, whatever the umask is. The group first: its members must never have the rights of the
/// group before.
fn give_to_group(fd: BorrowedFd<'_>, group: Option<u32>, mode: Mode) -> Result<(), Errno> {
    if let Some(group) = group {
        rustix::fs::fchown(fd, None, Some(rustix::fs::Gid::from_raw(group)))?;
    }
    rustix::fs::fchmod(fd, mode)
}

fn check_owner_and_mode(path: &Path, stat: &Stat, owner: u32, modes: Modes) -> Result<(), ShmError> {
    if stat.st_uid != owner {
        return Err(ShmError::insecure(
            path,
            format!("it belongs to user {}, not to user {owner}", stat.st_uid),
        ));
    }
    // All but set-group-id, which a directory inherits and which means nothing here.
    let mode = stat.st_mode & 0o5777;
    if !modes.contains(&mode) {
        let [alone, shared] = modes;
        let problem = format!("its mode is {mode:04o}, not {alone:04o}, or {shared:04o} with a group");
        return Err(ShmError::insecure(path, problem));
    }
    Ok(())
}

fn no_room_or(doing: &'static str, path: &Path, bytes: u64, error: Errno) -> ShmError {
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ShmError::Full { path: path.to_owned(), bytes },
        error => ShmError::io(doing, path, error),
    }
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
