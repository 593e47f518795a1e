//! The directories of an installation.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{ConfigError, Diagnostic};

/// The directories of one installation, below `$IBP_HOME` (by default `$HOME`).
///
/// ```
/// use ibp_core::config::Home;
///
/// let home = Home::at("/home/ecif");
/// assert_eq!(home.config_file("ibma.conf"), std::path::Path::new("/home/ecif/etc/ibma.conf"));
/// assert_eq!(home.config_file("./ibma.conf"), std::path::Path::new("./ibma.conf"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

/// A program that has settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The registry.
    Ibms,
    /// The agent.
    Ibma,
    /// The platform.
    Ibas,
}

impl Home {
    /// The installation in a directory.
    pub fn at(path: impl Into<PathBuf>) -> Home {
        Home(path.into())
    }

    /// The installation that the environment names: `IBP_HOME`, or else `HOME`. `None` if neither is set.
    pub fn from_env() -> Option<Home> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        set("IBP_HOME").or_else(|| set("HOME")).map(Home::at)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Configuration files.
    pub fn etc(&self) -> PathBuf {
        self.0.join("etc")
    }

    /// App packages.
    pub fn so(&self) -> PathBuf {
        self.0.join("so")
    }

    /// Attached files.
    pub fn file(&self) -> PathBuf {
        self.0.join("file")
    }

    /// Log files.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Keys.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The path of a configuration file that somebody named: a plain name stands in `etc/`, a name with a directory is
    /// taken as it is.
    pub fn config_file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let name = Path::new(name.as_ref());
        let is_plain = name.components().count() == 1 && name.file_name() == Some(name.as_os_str());
        if is_plain { self.etc().join(name) } else { name.to_owned() }
    }

    /// Makes the directories and the default configuration files of a program, and returns the paths that were made.
    /// What exists already is not touched.
    ///
    /// The files describe a node `ECIF` whose platform listens on this machine only. `keys/` and what stands in it is
    /// for its owner only.
    ///
    /// # Errors
    /// A directory or a file that cannot be made.
    pub fn init(&self, program: Program) -> Result<Vec<PathBuf>, ConfigError> {
        let mut made = Vec::new();
        for (path, mode) in [
            (self.etc(), 0o755),
            (self.log(), 0o755),
            (self.file(), 0o755),
            (self.so(), 0o755),
            (self.keys(), 0o700),
        ] {
            let result = DirBuilder::new().recursive(true).mode(0o755).create(&self.0);
            note(&mut made, &path, result.and_then(|()| DirBuilder::new().mode(mode).create(&path)))?;
        }
        for (name, text) in program.default_files() {
            let path = self.etc().join(name);
            let result = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            note(
                &mut made,
                &path,
                result.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes())),
            )?;
        }
        Ok(made)
    }
}

impl Program {
    /// The default configuration files of the program, by name.
    pub fn default_files(self) -> &'static [(&'static str, &'static str)] {
        const IBMS: (&str, &str) = ("ibms.conf", include_str!("defaults/ibms.conf"));
        const IBMA: (&str, &str) = ("ibma.conf", include_str!("defaults/ibma.conf"));
        const IBAS: (&str, &str) = ("ibas.conf", include_str!("defaults/ibas.conf"));
        const NODES: (&str, &str) = ("ibp_nodes.conf", include_str!("defaults/ibp_nodes.conf"));
        const APPS: (&str, &str) = ("ibp_apps.conf", include_str!("defaults/ibp_apps.conf"));
        const PROJECTS: (&str, &str) = ("ibp_projects.conf", include_str!("defaults/ibp_projects.conf"));
        match self {
            Program::Ibms => &[IBMS, NODES, APPS, PROJECTS],
            Program::Ibma => &[IBMA, NODES, APPS, PROJECTS],
            Program::Ibas => &[IBAS, IBMA, NODES, APPS, PROJECTS],
        }
    }
}

/// Notes what was made; what is there already is no error.
fn note(made: &mut Vec<PathBuf>, path: &Path, result: io::Result<()>) -> Result<(), ConfigError> {
    match result {
        Ok(()) => made.push(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let message = format!("cannot be made: {error}");
            return Err(ConfigError::of(Diagnostic::of_file(path.display().to_string(), message)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{ClusterFiles, IbasSettings, IbmaSettings, IbmsSettings};

    #[test]
    fn what_init_makes_can_be_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("new/home"));
        for program in [Program::Ibas, Program::Ibma, Program::Ibms] {
            home.init(program).unwrap();
        }
        let cluster = ClusterFiles::in_directories(&home.etc(), &home.keys()).load().unwrap();
        let ibas = IbasSettings::load(&home.config_file("ibas.conf")).unwrap();
        let ibma = IbmaSettings::load(&home.config_file("ibma.conf")).unwrap();
        let ibms = IbmsSettings::load(&home.config_file("ibms.conf")).unwrap();
        let warnings = [cluster.warnings, ibas.warnings, ibma.warnings, ibms.warnings].concat();
        assert_eq!(warnings, []);
        let view = cluster.value.view(&ibma.value.this_node).unwrap();
        let this_node = view.nodes.iter().find(|node| node.name == view.this_node).unwrap();
        assert!(this_node.hosts.iter().any(|host| host.addr == ibas.value.server));
        assert!(ibma.value.config.is_some());
    }

    #[test]
    fn init_says_what_it_makes_and_touches_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path());
        fs::create_dir(home.etc()).unwrap();
        fs::write(home.config_file("ibp_apps.conf"), "mine").unwrap();
        let made = home.init(Program::Ibma).unwrap();
        let names: Vec<_> = made.iter().map(|path| path.strip_prefix(directory.path()).unwrap()).collect();
        let wanted =
            ["log", "file", "so", "keys", "etc/ibma.conf", "etc/ibp_nodes.conf", "etc/ibp_projects.conf"];
        assert_eq!(names, wanted.map(Path::new));
        assert_eq!(fs::read_to_string(home.config_file("ibp_apps.conf")).unwrap(), "mine");
        assert_eq!(fs::metadata(home.keys()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(home.init(Program::Ibma), Ok(vec![]));
    }
}
