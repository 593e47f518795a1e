//! Pair keys: what two nodes that a project connects share, and nobody else has.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Name, PairKey, Secret};

/// The keys of a cluster: one [`PairKey`] for each pair of nodes that has one.
///
/// A project connects each of its client nodes with each of its server nodes; the two share one key, whichever of
/// them asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    by_pair: BTreeMap<Pair, PairKey>,
}

/// Two nodes, in either order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    first: Name,
    second: Name,
}

/// Which key it is: a check value of the key, which tells nothing of the key itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl Keys {
    /// No keys.
    pub fn new() -> Keys {
        Keys::default()
    }

    /// The keys that two nodes share.
    pub fn get(&self, one: &str, other: &str) -> Option<&PairKey> {
        self.by_pair.get(&Pair::new(one, other))
    }

    /// [`get`](Keys::get) for names at hand: copies no text.
    pub(super) fn get_shared(&self, one: &Name, other: &Name) -> Option<&PairKey> {
        if self.by_pair.is_empty() { None } else { self.by_pair.get(&Pair::new(one, other)) }
    }

    /// The keys of a pair.
    pub fn get_pair(&self, pair: &Pair) -> Option<&PairKey> {
        self.by_pair.get(pair)
    }

    /// Gives keys to a pair, and returns those that it had.
    pub fn insert(&mut self, pair: Pair, key: PairKey) -> Option<PairKey> {
        self.by_pair.insert(pair, key)
    }

    /// Takes the keys of a pair away, and returns them.
    pub fn remove(&mut self, pair: &Pair) -> Option<PairKey> {
        self.by_pair.remove(pair)
    }

    /// Every pair with its keys, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Pair, &PairKey)> {
        self.by_pair.iter()
    }

    /// How many pairs have keys.
    pub fn len(&self) -> usize {
        self.by_pair.len()
    }

    /// Whether no pair has keys.
    pub fn is_empty(&self) -> bool {
        self.by_pair.is_empty()
    }
}

impl Pair {
    /// The pair of two nodes; `Pair::new(a, b)` is `Pair::new(b, a)`.
    pub fn new(one: impl Into<Name>, other: impl Into<Name>) -> Pair {
        let (one, other) = (one.into(), other.into());
        if one <= other { Pair { first: one, second: other } } else { Pair { first: other, second: one } }
    }

    /// The node whose name comes first.
    pub fn first(&self) -> &Name {
        &self.first
    }

    /// The node whose name comes second.
    pub fn second(&self) -> &Name {
        &self.second
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.first, self.second)
    }
}

impl Secret {
    /// The key's check value: the first 64 bits of HMAC-SHA-256 under the key over a constant text.
    pub fn id(&self) -> KeyId {
        // HMAC fills a short key up with zeros to one block.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(b"IBP key id 1");
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = [0; 8];
        id.copy_from_slice(&tag[..8]);
        KeyId(id)
    }

    /// A key from its 64 hexadecimal digits. `None` for anything else.
    pub fn from_hex(digits: &str) -> Option<Secret> {
        let mut bytes = [0u8; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high << 4 | low) as u8;
        }
        Some(Secret(bytes))
    }

    /// The key's 64 hexadecimal digits, for the file that holds keys. They are the secret: never log them.
    pub fn to_hex(&self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
    }

    /// Whether all bytes are the same: such a "key" was never random.
    pub(super) fn is_weak(&self) -> bool {
        self.0.iter().all(|byte| *byte == self.0[0])
    }
}

impl PairKey {
    /// Keys of a pair that has had none: `current`, in force at once.
    pub fn first(current: Secret) -> PairKey {
        PairKey { current, previous: None, new_enable_at: 0, old_disable_at: 0 }
    }

    /// A change to a new key that no transaction notices: senders go over to it `new_key_enable_elapse` seconds after
    /// `now` (seconds since 1970), so that every receiver has it by then; receivers accept the old one until
    /// `old_key_disable_elapse` seconds after `now`.
    pub fn changed(
        &self,
        new: Secret,
        now: i64,
        new_key_enable_elapse: u32,
        old_key_disable_elapse: u32,
    ) -> PairKey {
        PairKey {
            current: new,
            previous: Some(self.current.clone()),
            new_enable_at: now.saturating_add(i64::from(new_key_enable_elapse)),
            old_disable_at: now.saturating_add(i64::from(old_key_disable_elapse)),
        }
    }

    /// The key that a sender uses at `now` (seconds since 1970).
    pub fn sending(&self, now: i64) -> &Secret {
        match &self.previous {
            Some(previous) if now < self.new_enable_at => previous,
            _ => &self.current,
        }
    }

    /// The key with this id, if a receiver accepts it at `now` (seconds since 1970).
    pub fn accepted(&self, id: KeyId, now: i64) -> Option<&Secret> {
        if self.current.id() == id {
            return Some(&self.current);
        }
        self.previous.as_ref().filter(|previous| now < self.old_disable_at && previous.id() == id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(first: u8) -> Secret {
        Secret(std::array::from_fn(|at| first.wrapping_add(at as u8)))
    }

    #[test]
    fn a_pair_has_no_order() {
        let mut keys = Keys::new();
        keys.insert(Pair::new("CORE", "ECIF"), PairKey::first(secret(1)));
        assert_eq!(keys.get("ECIF", "CORE"), keys.get("CORE", "ECIF"));
        assert!(keys.get("ECIF", "CORE").is_some());
        assert!(keys.get("ECIF", "ECIF").is_none());
    }

    #[test]
    fn the_id_is_a_check_value() {
        // Computed apart from this code: HMAC-SHA-256 under bytes 0..32 over the constant text.
        assert_eq!(secret(0).id().to_string(), "0e375ccbecee3b31");
        assert_ne!(secret(0).id(), secret(1).id());
    }

    #[test]
    fn hex_goes_both_ways() {
        let digits = secret(0xf0).to_hex();
        assert_eq!(Secret::from_hex(&digits), Some(secret(0xf0)));
        assert_eq!(Secret::from_hex(&digits.to_uppercase()), Some(secret(0xf0)));
        assert_eq!(Secret::from_hex(&digits[1..]), None);
        assert_eq!(Secret::from_hex(&format!("{}g", &digits[1..])), None);
        assert_eq!(Secret::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn a_change_overlaps() {
        let old = PairKey::first(secret(1));
        let new = old.changed(secret(2), 1000, 60, 120);
        assert_eq!(new.sending(1059), &secret(1));
        assert_eq!(new.sending(1060), &secret(2));
        assert_eq!(new.accepted(secret(2).id(), 1000), Some(&secret(2)));
        assert_eq!(new.accepted(secret(1).id(), 1119), Some(&secret(1)));
        assert_eq!(new.accepted(secret(1).id(), 1120), None);
        assert_eq!(new.accepted(secret(3).id(), 1000), None);
    }

    #[test]
    fn debug_hides_keys() {
        let mut keys = Keys::new();
        keys.insert(
            Pair::new("A", "B"),
            PairKey::first(Secret([0xab; 32])).changed(Secret([0xcd; 32]), 0, 1, 2),
        );
        let shown = format!("{keys:?}");
        assert!(!shown.contains("171") && !shown.contains("205") && !shown.contains("abab"), "{shown}");
    }
}
