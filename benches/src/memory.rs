//! What a process has of memory that it shares with nobody.

use std::fs;

use crate::Result;

/// Private memory of a process in KiB, as its pages that were written to and are mapped by it alone
/// (`Private_Dirty`): what one more such process costs the machine.
///
/// # Errors
/// There is no such process, or the kernel does not tell.
pub fn private_dirty_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    field(&rollup, "Private_Dirty:").ok_or_else(|| format!("{path}: no Private_Dirty in it").into())
}

fn field(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_written_is_counted() {
        let before = private_dirty_kib(std::process::id()).unwrap();
        let written = vec![1_u8; 16 << 20];
        let after = private_dirty_kib(std::process::id()).unwrap();
        assert!(after >= before + (15 << 10), "{before} KiB before, {after} KiB after");
        drop(std::hint::black_box(written));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let rollup = "Private_Clean:   12 kB\nPrivate_Dirty:   34 kB\n";
        assert_eq!(field(rollup, "Private_Dirty:"), Some(34));
        assert_eq!(field(rollup, "Dirty:"), None);
    }
}
