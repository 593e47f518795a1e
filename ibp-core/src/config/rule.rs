//! The rules that a configuration obeys, one place for all who check them.

use std::fmt;
use std::net::IpAddr;

use super::Name;

/// The most hosts one node may have.
pub const MAX_HOSTS: usize = 65_535;
/// The longest time an app may be given, in seconds.
pub const MAX_TIMEOUT_SECONDS: u32 = 86_400;
/// The longest file name of an app package, in bytes.
pub const MAX_BIN_BYTES: usize = 255;
/// The longest description, in bytes.
pub const MAX_DESC_BYTES: usize = 1024;
/// The longest value of a kv setting, in bytes.
pub const MAX_VALUE_BYTES: usize = 65_536;

/// A rule that an entry of a configuration breaks. Its text says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// A name of no bytes.
    #[error("the name is empty; a name has 1 to 64 bytes")]
    NameEmpty,
    /// A name of more than 64 bytes.
    #[error("the name has {bytes} bytes; a name has 1 to 64 bytes")]
    NameTooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A name with a character that names do not have.
    #[error(
        "the name contains {character:?}; a name consists of ASCII letters, digits, \"_\", \"-\" and \".\""
    )]
    NameCharacter {
        /// The first such character.
        character: char,
    },
    /// Two entries of one kind with one name.
    #[error("another {what} has this name; each {what} stands once")]
    Duplicate {
        /// The kind of entry: "node", "app", "project".
        what: &'static str,
    },
    /// Something that is not an IPv4 or IPv6 address where a host's address has to stand.
    #[error(
        "{text:?} is not an IP address; a host is given by its IPv4 or IPv6 address, host names are refused"
    )]
    NotAnAddress {
        /// What stands there (cut after 64 characters).
        text: String,
    },
    /// An address that no one can connect to.
    #[error("no client can connect to {ip}, {why}; give the address of one host")]
    UnusableAddress {
        /// The address.
        ip: IpAddr,
        /// What kind of address it is.
        why: &'static str,
    },
    /// A port outside its range.
    #[error("the port {port} is outside 1 to 65535 (or -65535 to -1 for a client-only host)")]
    Port {
        /// The port.
        port: i64,
    },
    /// One address twice in a node.
    #[error("the host {host} stands twice in this node")]
    DuplicateHost {
        /// The address as it stands there.
        host: String,
    },
    /// A node with more hosts than supported.
    #[error("the node has {hosts} hosts; a node has at most 65535")]
    TooManyHosts {
        /// How many it has.
        hosts: usize,
    },
    /// A key twice in a node's settings.
    #[error("the kv key {key:?} stands twice in this node")]
    DuplicateKey {
        /// The key.
        key: Name,
    },
    /// A time of an app outside its range.
    #[error("{field} is {seconds} s; it is {least} to 86400 s")]
    Timeout {
        /// The field: "timeout" or "timeout2".
        field: &'static str,
        /// What stands there.
        seconds: i64,
        /// The least value that the field may have.
        least: u32,
    },
    /// The name of an app package that is not a plain file name.
    #[error("{text:?} is not the name of a file in so/; an app package is named without a directory")]
    NotAFileName {
        /// What stands there (cut after 64 characters).
        text: String,
    },
    /// A text that is too long.
    #[error("{field} has {bytes} bytes; it has at most {most}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// A text with a character that would break lines or C strings.
    #[error("{field} contains the control character {character:?}")]
    ControlCharacter {
        /// The field.
        field: &'static str,
        /// The character.
        character: char,
    },
    /// A node that the configuration does not have.
    #[error("there is no node {name:?}{}", did_you_mean(.suggestion))]
    UnknownNode {
        /// The name that stands there.
        name: Name,
        /// A node with a similar name.
        suggestion: Option<Name>,
    },
    /// An app that the configuration does not have.
    #[error("there is no app {name:?}{}", did_you_mean(.suggestion))]
    UnknownApp {
        /// The name that stands there.
        name: Name,
        /// An app with a similar name.
        suggestion: Option<Name>,
    },
    /// A name twice in one list.
    #[error("{name:?} stands twice in {list}")]
    Repeated {
        /// The name.
        name: Name,
        /// The list: "server_nodes", "client_nodes" or "apps".
        list: &'static str,
    },
    /// Two keys for one pair of nodes.
    #[error("another entry gives keys to this pair of nodes")]
    DuplicatePair,
    /// A key that cannot be secret.
    #[error("the key consists of one byte repeated; a key is 256 random bits")]
    WeakKey,
    /// The same key as current and previous one.
    #[error("the previous key is the same as the current one")]
    KeyNotChanged,
    /// A time before 1970.
    #[error("{field} is {seconds}; it counts seconds since 1970 and is not negative")]
    NegativeTime {
        /// The field.
        field: &'static str,
        /// What stands there.
        seconds: i64,
    },
}

/// A name has 1 to 64 bytes of `[A-Za-z0-9_.-]`.
pub(super) fn name(text: &str) -> Result<(), Rule> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() {
        Err(Rule::NameEmpty)
    } else if text.len() > Name::MAX_BYTES {
        Err(Rule::NameTooLong { bytes: text.len() })
    } else if text.bytes().all(allowed) {
        Ok(())
    } else {
        let not_allowed = |character: &char| !character.is_ascii() || !allowed(*character as u8);
        Err(Rule::NameCharacter { character: text.chars().find(not_allowed).unwrap_or('\0') })
    }
}

/// The address of a host, from text.
pub(super) fn ip(text: &str) -> Result<IpAddr, Rule> {
    let ip = text.parse().map_err(|_| Rule::NotAnAddress { text: shortened(text) })?;
    usable(ip)?;
    Ok(ip)
}

/// An address stands for one host.
pub(super) fn usable(ip: IpAddr) -> Result<(), Rule> {
    let why = if ip.is_unspecified() {
        "the unspecified address"
    } else if ip.is_multicast() {
        "a multicast address"
    } else if ip == IpAddr::from([255, 255, 255, 255]) {
        "the broadcast address"
    } else {
        return Ok(());
    };
    Err(Rule::UnusableAddress { ip, why })
}

/// The port of a host: 1 to 65535, or its negative for a client-only host.
pub(super) fn port(port: i64) -> Result<i32, Rule> {
    match i32::try_from(port) {
        Ok(narrow) if (1..=65_535).contains(&narrow.unsigned_abs()) => Ok(narrow),
        _ => Err(Rule::Port { port }),
    }
}

/// A time of an app in seconds.
pub(super) fn timeout(field: &'static str, seconds: i64, least: u32) -> Result<u32, Rule> {
    match u32::try_from(seconds) {
        Ok(narrow) if (least..=MAX_TIMEOUT_SECONDS).contains(&narrow) => Ok(narrow),
        _ => Err(Rule::Timeout { field, seconds, least }),
    }
}

/// The file name of an app package; it may be empty.
pub(super) fn bin(text: &str) -> Result<(), Rule> {
    text_within("bin", text, MAX_BIN_BYTES, false)?;
    if text == "." || text == ".." || text.contains('/') {
        return Err(Rule::NotAFileName { text: shortened(text) });
    }
    Ok(())
}

/// A text of limited length without zero bytes and, unless `lines`, without any control character.
pub(super) fn text_within(field: &'static str, text: &str, most: usize, lines: bool) -> Result<(), Rule> {
    if text.len() > most {
        return Err(Rule::TooLong { field, bytes: text.len(), most });
    }
    let forbidden = |character: &char| if lines { *character == '\0' } else { character.is_control() };
    match text.chars().find(forbidden) {
        Some(character) => Err(Rule::ControlCharacter { field, character }),
        None => Ok(()),
    }
}

/// What stands somewhere, short enough for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn did_you_mean(suggestion: &Option<Name>) -> impl fmt::Display {
    match suggestion {
        Some(name) => format!("; did you mean {name:?}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("A-z_0.9"), Ok(()));
        assert_eq!(name(&"n".repeat(64)), Ok(()));
        assert_eq!(name(""), Err(Rule::NameEmpty));
        assert_eq!(name(&"n".repeat(65)), Err(Rule::NameTooLong { bytes: 65 }));
        assert_eq!(name("ECIF 1"), Err(Rule::NameCharacter { character: ' ' }));
        assert_eq!(name("核心"), Err(Rule::NameCharacter { character: '核' }));
    }

    #[test]
    fn addresses_are_of_one_host() {
        assert!(ip("158.1.0.56").is_ok());
        assert!(ip("::1").is_ok());
        for text in ["db1.example", "158.1.0", "158.1.0.056", "fe80::1%eth0", "", "158.1.0.56:18001"] {
            assert!(matches!(ip(text), Err(Rule::NotAnAddress { .. })), "{text}");
        }
        for text in ["0.0.0.0", "::", "239.1.1.1", "ff02::1", "255.255.255.255"] {
            assert!(matches!(ip(text), Err(Rule::UnusableAddress { .. })), "{text}");
        }
    }

    #[test]
    fn ports_at_the_edges() {
        for value in [1, 65_535, -1, -65_535] {
            assert_eq!(port(value), Ok(value as i32));
        }
        for value in [0, 65_536, -65_536, i64::MAX, i64::MIN, 1 << 32] {
            assert_eq!(port(value), Err(Rule::Port { port: value }));
        }
    }

    #[test]
    fn app_packages_have_no_directory() {
        assert_eq!(bin(""), Ok(()));
        assert_eq!(bin("libapp.so.1"), Ok(()));
        for text in ["..", ".", "../etc/passwd", "/lib/libc.so", "so/app.so"] {
            assert!(matches!(bin(text), Err(Rule::NotAFileName { .. })), "{text}");
        }
        assert!(matches!(bin("a\nb"), Err(Rule::ControlCharacter { .. })));
    }

    #[test]
    fn messages_are_sentences() {
        let long = "x".repeat(500);
        let message = ip(&long).unwrap_err().to_string();
        assert!(message.len() < 200, "{message}");
        let rule = Rule::UnknownNode { name: "ECFI".into(), suggestion: Some("ECIF".into()) };
        assert_eq!(rule.to_string(), "there is no node \"ECFI\"; did you mean \"ECIF\"?");
    }
}
