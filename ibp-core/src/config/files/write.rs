//! Writing files to disk: the only place of the configuration that makes files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The permissions of a file that is written.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Mode {
    /// These.
    Exactly(u32),
    /// These, without those that the umask takes away.
    AtMost(u32),
}

/// Puts `bytes` in the place of a file, all or nothing: whoever reads the path finds the old content or the new one,
/// also after a crash.
pub(in crate::config) fn write_atomically(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(path)
}

/// [`write_atomically`], with the previous content kept as `X.old` beside the file `X`.
pub(in crate::config) fn replace_keeping_previous(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    keep_previous(path)?;
    write_atomically(path, bytes, mode)
}

/// Gives the file's content a second name, so that the first one never stands for nothing.
fn keep_previous(path: &Path) -> io::Result<()> {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    let temporary = temporary_name(Path::new(&old))?;
    match fs::hard_link(path, &temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            fs::hard_link(path, &temporary)?;
        }
        other => other?,
    }
    // When both are the same file already, renaming does nothing and leaves the second name.
    fs::rename(&temporary, &old)?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name beside the file, so that renaming stays on one file system; of this process, so that two do not share it.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let (Mode::Exactly(bits) | Mode::AtMost(bits)) = mode;
    let create = || OpenOptions::new().write(true).create_new(true).mode(bits).open(path);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by an earlier process of this number that was killed.
            fs::remove_file(path)?;
            create()?
        }
        other => other?,
    };
    if let Mode::Exactly(bits) = mode {
        file.set_permissions(Permissions::from_mode(bits))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
