//! Turning a program into a daemon, without a fork in a process that may have threads.
//!
//! A program that wants to run in the background starts itself anew with [`spawn`], as a child in a session of its own,
//! and waits until the child has said with [`Ready::tell`] that it is at work; so whoever started the program learns from
//! its exit status whether the daemon runs, and what is wrong if not.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Set in the environment of a program that was started as a daemon.
const MARK: &str = "IBP_DAEMON_CHILD";
const READY: u8 = b'+';

/// How a daemon began.
#[derive(Debug)]
pub enum Spawned {
    /// It is at work, with this process id.
    Running(u32),
    /// It ended before it was at work; what it had to say went to standard error.
    Failed(ExitStatus),
}

/// Starts this program anew with these arguments as a daemon: in a session of its own, with nothing as its input. Returns when the daemon is at work, or has failed. Its standard error is this
/// process's own until then.
///
/// # Errors
/// A process that cannot be started.
pub fn spawn(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Spawned> {
    let mut child = Command::new(env::current_exe()?)
        .args(arguments)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    match hear(&mut child)? {
        true => Ok(Spawned::Running(child.id())),
        false => Ok(Spawned::Failed(child.wait()?)),
    }
}

/// Whether the daemon says that it is at work, before it ends.
fn hear(child: &mut Child) -> io::Result<bool> {
    let mut heard = [0];
    let Some(mut output) = child.stdout.take() else { return Ok(false) };
    loop {
        match output.read(&mut heard) {
            Ok(read) => return Ok(read == 1 && heard[0] == READY),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a daemon has to do when it is at work.
#[derive(Debug)]
pub struct Ready(());

impl Ready {
    /// Makes this process a daemon, if it was started as one by [`spawn`]; `None` if it was not.
    ///
    /// # Errors
    /// A failing system call.
    pub fn of_daemon() -> io::Result<Option<Ready>> {
        if env::var_os(MARK).is_none() {
            return Ok(None);
        }
        // The terminal of whoever started it cannot kill it.
        rustix::process::setsid()?;
        Ok(Some(Ready(())))
    }

    /// Tells whoever started the daemon that it is at work, and lets go of the terminal and of the working directory:
    /// from here on it is `/`.
    ///
    /// # Errors
    /// A failing system call.
    pub fn tell(self) -> io::Result<()> {
        let mut output = io::stdout();
        // Nobody may be there to hear it.
        let _ = output.write_all(&[READY]).and_then(|()| output.flush());
        let nothing = OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&nothing)?;
        rustix::stdio::dup2_stderr(&nothing)?;
        // No file system is kept busy.
        env::set_current_dir("/")
    }
}

/// The file in which a daemon writes its process id; removed when it goes.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes the process id of this process. The file is locked for as long as the process lives.
    ///
    /// # Errors
    /// [`PidFileError::Running`] if another living process has the file.
    pub fn create(path: &Path) -> Result<PidFile, PidFileError> {
        let io = |source| PidFileError::Io { path: path.to_owned(), source };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(path)
                .map_err(io)?;
            if file.try_lock().is_err() {
                let mut text = String::new();
                // Its owner may not have written it yet.
                let _ = file.read_to_string(&mut text);
                return Err(PidFileError::Running { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            // Between opening and locking its owner may have removed it: then the lock is on nothing.
            if !is_same(&file, path) {
                continue;
            }
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
            return Ok(PidFile { path: path.to_owned(), file });
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_same(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidFileError {
    /// The daemon runs already.
    #[error("{} is the file of a daemon that runs already{}", path.display(), with_pid(.pid))]
    Running {
        /// The file.
        path: PathBuf,
        /// The process id of the daemon, if it has written it.
        pid: Option<u32>,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn with_pid(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(", with process id {pid}: stop that one first")).unwrap_or_default()
}

/// The exit code of a daemon that failed, as a shell shows it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_the_first_ones_pid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ibma.pid");
        let first = PidFile::create(&path).unwrap();
        match PidFile::create(&path) {
            Err(PidFileError::Running { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!path.exists());
        // Left by one that was killed.
        fs::write(&path, "4194304\n").unwrap();
        let next = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(next);
    }
}
