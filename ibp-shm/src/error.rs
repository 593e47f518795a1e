use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a segment, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// A system call failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There are no segments: no agent runs for this installation, or it was stopped cleanly.
    #[error("no configuration at {}: start the agent of this installation", path.display())]
    NotThere {
        /// The file or directory that is missing.
        path: PathBuf,
    },
    /// An agent runs, and has not published yet.
    #[error(
        "{} exists, but nothing is published yet: wait for the agent to fetch the configuration",
        path.display()
    )]
    NotPublished {
        /// The index.
        path: PathBuf,
    },
    /// The segment that the index names is gone, and the index did not move on.
    #[error(
        "{} or the load board that it needs is gone: somebody removed it; publishing again puts it right",
        path.display()
    )]
    Gone {
        /// The missing segment.
        path: PathBuf,
    },
    /// The segments were replaced faster than they could be attached.
    #[error("{} changed {attempts} times while attaching: try again", path.display())]
    Restless {
        /// The index.
        path: PathBuf,
        /// How often it was tried.
        attempts: u32,
    },
    /// Owner, mode or kind of a file or directory are not what they have to be. Nothing was read from it.
    #[error("{} is not safe to use: {problem}", path.display())]
    Insecure {
        /// The file or directory.
        path: PathBuf,
        /// What was found and what is wanted.
        problem: String,
    },
    /// The segment was written by another version of this software.
    #[error(
        "{} has layout {found}, this program reads layout {supported}: agent and applications must be of one version",
        path.display()
    )]
    Layout {
        /// The segment.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// The segment is not what its publisher wrote.
    #[error("{} is damaged: {problem}; publishing again replaces it", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong, and at which offset or entry.
        problem: String,
    },
    /// Another publisher is at work in this directory.
    #[error(
        "{} belongs to the running agent with process id {pid}: stop that one first",
        path.display()
    )]
    Busy {
        /// The index, which that process has locked.
        path: PathBuf,
        /// The process id of the other publisher.
        pid: u32,
    },
    /// The index of this publisher lost its name, so that another agent could begin beside it. It is closed:
    /// open the publisher again.
    #[error("{} is no longer this agent's: somebody removed it; open the publisher again", path.display())]
    Displaced {
        /// The index.
        path: PathBuf,
    },
    /// The file system has no room. What was published before stays in force.
    #[error("no room for {} ({bytes} bytes): free or enlarge the file system", path.display())]
    Full {
        /// The segment that could not be allocated.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The view contradicts itself and cannot be published.
    #[error("cannot publish {entry}: {problem}")]
    InvalidView {
        /// The entry of the view.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ShmError {
    /// Whether the same call may succeed later without anyone changing the configuration: the agent has to
    /// start or to publish first, or room has to be made.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            ShmError::NotThere { .. }
                | ShmError::NotPublished { .. }
                | ShmError::Gone { .. }
                | ShmError::Restless { .. }
                | ShmError::Busy { .. }
                | ShmError::Full { .. }
        )
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        ShmError::Io { doing, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        ShmError::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn insecure(path: &Path, problem: impl Into<String>) -> Self {
        ShmError::Insecure { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn invalid(entry: impl Into<String>, problem: impl Into<String>) -> Self {
        ShmError::InvalidView { entry: entry.into(), problem: problem.into() }
    }
}
