//! The configuration of a cluster in files of this host.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ibp_core::config::{ClusterFiles, Home, IbmaSettings, Loaded};

use super::source::{Fetched, Source};
use super::watch::Watch;
use super::{AgentError, files};

/// Takes the configuration from the files that an `ibma.conf` names in its section `config`, and watches them.
#[derive(Debug)]
pub struct FileSource {
    home: Home,
    settings_file: PathBuf,
    watch: Watch,
    /// The files that were read last, the settings first, and what they were like before.
    read: Vec<(PathBuf, Option<Stamp>)>,
}

/// What tells one content of a file from another.
type Stamp = (u64, i64, i64, i64, i64, u64);

impl FileSource {
    /// A source with the settings in a file.
    ///
    /// # Errors
    /// Files that cannot be watched.
    pub fn open(home: Home, settings_file: PathBuf) -> Result<FileSource, AgentError> {
        let watch = Watch::new().map_err(|error| AgentError::io("watch files", error))?;
        Ok(FileSource { home, settings_file, watch, read: Vec::new() })
    }

    /// Notes what the files are like, and watches them, before they are read: whatever changes afterwards shows.
    fn note(&mut self, read: Vec<(PathBuf, Option<Stamp>)>) {
        let paths: Vec<&Path> = read.iter().map(|(path, _)| path.as_path()).collect();
        if let Err(error) = self.watch.set(&paths) {
            // Changes are found within a second all the same.
            tracing::warn!("cannot watch the configuration files: {error}");
        }
        self.read = read;
    }

    fn cluster_files(&self, settings: &IbmaSettings) -> Result<ClusterFiles, AgentError> {
        let Some(names) = &settings.config else {
            return Err(AgentError::NoSource { settings: self.settings_file.clone() });
        };
        Ok(names.resolve(&self.home.etc(), &self.home.keys()))
    }
}

impl Source for FileSource {
    fn fetch(&mut self) -> Result<Fetched, AgentError> {
        let settings_file = self.settings_file.clone();
        let settings_noted = (settings_file.clone(), stamp(&settings_file));
        match self.read.first_mut() {
            Some(first) => *first = settings_noted.clone(),
            None => self.note(vec![settings_noted.clone()]),
        }
        let Loaded { value: settings, mut warnings } = IbmaSettings::load(&settings_file)?;
        let cluster = self.cluster_files(&settings)?;
        let noted = |path: PathBuf| (path.clone(), stamp(&path));
        let files =
            [&cluster.nodes, &cluster.apps, &cluster.projects, &cluster.keys].map(|path| noted(path.clone()));
        self.note(std::iter::once(settings_noted).chain(files).collect());
        let loaded = cluster.load()?;
        warnings.extend(loaded.warnings);
        let mut view = loaded
            .value
            .view(&settings.this_node)
            .map_err(|source| AgentError::UnknownNode { settings: settings_file, source })?;
        settings.apply(&mut view);
        Ok(Fetched { view, settings, warnings })
    }

    fn changes(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    fn take_changes(&mut self) -> bool {
        self.watch.take()
    }

    fn has_changed_unnoticed(&mut self) -> bool {
        self.read.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(files::real(path)).ok()?;
    Some((
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino(),
    ))
}
