//! The names of the files of a directory that are this crate's.

/// The index.
pub(crate) const INDEX: &str = "index";
/// The load board.
pub(crate) const LOAD: &str = "load";
/// The load board while it is being made.
pub(crate) const HIDDEN_LOAD: &str = "load.tmp";

/// The configuration of a generation.
pub(crate) fn config(generation: u64) -> String {
    format!("config.{generation}")
}

/// The configuration while it is being written.
pub(crate) fn hidden_config(generation: u64) -> String {
    format!("config.{generation}.tmp")
}

/// The index while it is being made: a name of its own each time, since no lock keeps others out before it
/// has its final name. Process ids would not do: two containers may share the directory, and both agents be
/// process 1.
pub(crate) fn hidden_index(random: u64) -> String {
    format!("index.{random}.tmp")
}

/// The generation whose configuration, finished or not, has this name.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("config.")?;
    number_of(number.strip_suffix(".tmp").unwrap_or(number))
}

/// Whether a file of this name is ours, and belongs to no generation but `current`.
pub(crate) fn is_left_over(name: &str, current: u64) -> bool {
    let index = name.strip_prefix("index.").and_then(|name| name.strip_suffix(".tmp"));
    name == HIDDEN_LOAD
        || index.is_some_and(|random| random.parse::<u64>().is_ok())
        || generation_of(name).is_some_and(|_| name != config(current))
}

/// No generation has a higher number. At a million a second they last for 140 000 years.
pub(crate) const LAST_GENERATION: u64 = 1 << 62;

/// A number as this crate writes it.
fn number_of(digits: &str) -> Option<u64> {
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|number| plain && *number <= LAST_GENERATION)
}

#[cfg(test)]
mod tests {
    use super::{config, generation_of, hidden_config, hidden_index, is_left_over};

    #[test]
    fn our_left_overs_are_told_from_the_files_of_others() {
        for name in [config(6), hidden_config(7), hidden_index(u64::MAX), "load.tmp".to_owned()] {
            assert!(is_left_over(&name, 7), "{name}");
        }
        for name in [
            "index",
            "load",
            "config.7",
            "config.",
            "config.x",
            "config.07",
            "config.-1",
            "config.7.bak",
            "ibas.sock",
        ] {
            assert!(!is_left_over(name, 7), "{name}");
        }
        assert_eq!(generation_of("config.12.tmp"), Some(12));
        assert_eq!(generation_of("config.9223372036854775808"), None);
    }
}
