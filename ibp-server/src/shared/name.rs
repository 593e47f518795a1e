//! A short name in shared memory.

use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

/// A node's or an app's name: at most 64 bytes, padded with zeros.
#[derive(FromBytes)]
#[repr(C)]
pub(crate) struct SharedName([AtomicU64; 8]);

/// A copy of a [`SharedName`], on the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    words: [u64; 8],
}

impl SharedName {
    pub(crate) fn store(&self, name: &Name) {
        for (shared, word) in self.0.iter().zip(name.words) {
            shared.store(word, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> Name {
        let mut name = Name::default();
        for (word, shared) in name.words.iter_mut().zip(&self.0) {
            *word = shared.load(Ordering::Relaxed);
        }
        name
    }
}

impl Name {
    /// Cuts what is longer than 64 bytes, which no valid name is.
    pub(crate) fn new(text: &str) -> Self {
        let mut name = Self::default();
        let mut bytes = text.as_bytes();
        for word in &mut name.words {
            let (chunk, rest) = bytes.split_at(bytes.len().min(8));
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(padded);
            bytes = rest;
        }
        name
    }

    /// The text; what another process left half-written may be cut short.
    pub(crate) fn read<R>(&self, reader: impl FnOnce(&str) -> R) -> R {
        let mut bytes = [0; 64];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        reader(std::str::from_utf8(text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn round_trip() {
        for text in ["", "E", "ECIF-001", "ECIF-0012", &"x".repeat(64)] {
            Name::new(text).read(|read| assert_eq!(read, text));
        }
        Name::new(&"y".repeat(70)).read(|read| assert_eq!(read, "y".repeat(64)));
    }
}
