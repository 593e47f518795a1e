/// Whether this is a name of a node or an app: 1 to 64 bytes of ASCII letters, digits, `_`, `-` and `.`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
