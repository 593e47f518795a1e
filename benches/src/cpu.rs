//! Processor time of processes, and the core that a thread may use.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds the calling thread, and what it starts from now on, to one core.
///
/// # Errors
/// The machine has no such core, or this process may not use it.
pub fn pin_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// The last core that this process may use: interrupts and short-lived helpers tend to land on the first ones.
///
/// # Errors
/// The kernel does not tell.
pub fn last_core() -> io::Result<usize> {
    let cores = sched_getaffinity(None)?;
    (0..CpuSet::MAX_CPU)
        .rev()
        .find(|&core| cores.is_set(core))
        .ok_or_else(|| io::Error::other("no core to run on"))
}

/// Processor time of a process and all its living descendants since they began.
///
/// # Errors
/// `/proc` cannot be read.
pub fn of_tree(root: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in tree(root)? {
        // One that ended meanwhile counts as nothing; in a steady state no worker ends.
        total += of_process(pid).unwrap_or_default();
    }
    Ok(total)
}

/// Processor time of this process, with the threads that ended.
#[must_use]
pub fn own() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Processor time of one process, all its living threads included, to the nanosecond.
///
/// # Errors
/// There is no such process.
pub fn of_process(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between its listing and this.
        let Ok(times) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let on_cpu = times.split_whitespace().next().and_then(|field| field.parse().ok());
        total += Duration::from_nanos(on_cpu.ok_or_else(|| io::Error::other("schedstat without a number"))?);
    }
    Ok(total)
}

/// A process and its living descendants.
///
/// # Errors
/// `/proc` cannot be read.
pub fn tree(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may hold any character; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_belongs_to_the_tree() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let tree = tree(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.contains(&child.id()));
        assert!(!tree.contains(&1));
    }

    #[test]
    fn work_shows_as_processor_time() {
        let before = of_process(std::process::id()).unwrap();
        let enough = before + Duration::from_millis(20);
        while of_process(std::process::id()).unwrap() < enough {
            std::hint::spin_loop();
        }
    }
}
