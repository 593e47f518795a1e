//! Which processes use which generation.

use std::fs;
use std::path::Path;

use ibp_shm::Directory;
use serde::Serialize;

/// A process that has a configuration segment mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Attached {
    /// The process id.
    pub pid: u32,
    /// The program's name.
    pub program: String,
    /// The generation.
    pub generation: u64,
    /// Whether a newer one has replaced it; the segment goes when the last process leaves it.
    pub outdated: bool,
}

/// The processes that have a segment of this directory mapped, by process id. Those of other users are seen by root
/// only.
pub fn attached(directory: &Directory) -> Vec<Attached> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends meanwhile has nothing mapped.
        let Ok(maps) = fs::read_to_string(entry.path().join("maps")) else { continue };
        let mut generations: Vec<(u64, bool)> =
            maps.lines().filter_map(|line| generation(line, directory.path())).collect();
        generations.sort_unstable();
        generations.dedup();
        if generations.is_empty() {
            continue;
        }
        let program = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim_end().to_owned();
        found.extend(generations.into_iter().map(|(generation, outdated)| Attached {
            pid,
            program: program.clone(),
            generation,
            outdated,
        }));
    }
    found.sort_unstable();
    found
}

/// The generation whose segment a line of `/proc/PID/maps` is about, and whether the segment has lost its name.
fn generation(line: &str, directory: &Path) -> Option<(u64, bool)> {
    let path = &line[line.find('/')?..];
    let (path, outdated) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = Path::new(path);
    let number = path.file_name()?.to_str()?.strip_prefix("config.")?;
    (path.parent()? == directory).then(|| number.parse().ok())?.map(|generation| (generation, outdated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let directory = Path::new("/dev/shm/ibp-0-0123456789abcdef");
        let line = |path: &str| format!("7f3c1a000000-7f3c1a010000 r--s 00000000 00:1b 1234       {path}");
        let of = |path: &str| generation(&line(path), directory);
        assert_eq!(of("/dev/shm/ibp-0-0123456789abcdef/config.7"), Some((7, false)));
        assert_eq!(of("/dev/shm/ibp-0-0123456789abcdef/config.6 (deleted)"), Some((6, true)));
        assert_eq!(of("/dev/shm/ibp-0-0123456789abcdef/load"), None);
        assert_eq!(of("/dev/shm/ibp-0-ffffffffffffffff/config.7"), None);
        assert_eq!(of("/dev/shm/ibp-0-0123456789abcdef/config.x"), None);
        assert_eq!(generation("7f3c1a000000-7f3c1a010000 r--s 00000000 00:1b 1234", directory), None);
    }
}
