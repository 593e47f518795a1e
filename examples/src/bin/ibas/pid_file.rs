//! The file with the process id of a platform's manager.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use crate::Failure;

/// Locked for as long as the manager lives.
///
/// The lock is one of the process (`fcntl`), which workers do not inherit: when the manager is killed, a new platform can
/// start at once, while the old workers finish what they hold.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes this process's id.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path).map_err(failed)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(runs_already(path, &mut file).into()),
                Err(error) => return Err(failed(error.into()).into()),
            }
            // Its owner may have removed it between the two: then the lock is on nothing.
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
            return Ok(Self { path: path.to_owned(), file });
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn runs_already(path: &Path, file: &mut File) -> String {
    let mut pid = String::new();
    // Its owner may not have written it yet.
    let _ = file.take(20).read_to_string(&mut pid);
    let pid =
        pid.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" with process id {pid}"));
    format!("this platform runs already{pid} ({}): end that one first", path.display())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
