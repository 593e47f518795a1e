//! The hash of names, and of whole segments.
//!
//! The bytes are taken 16 at a time as two little-endian words; each pair is mixed into the state by a full
//! 64 x 64 bit multiplication whose halves are folded together (the construction of wyhash and its kin). The
//! remaining 0 to 15 bytes follow as two words that may overlap, and the length last, which tells all of that
//! apart.
//!
//! It is fast on short names and its collisions depend on the seed, which is what tables need. It is no
//! cryptographic hash: it recognises damage, not intent.

/// Seeds for digests that are compared across generations and versions of a segment: they never change.
pub(crate) const DIRECTORY_SEED: u64 = 0x6962_7020_6469_7265;
pub(crate) const IDENTITY_SEEDS: [u64; 2] = [0x6962_7020_686f_7374, 0x2066_6f72_2065_7665];
pub(crate) const CHECKSUM_SEED: u64 = 0x6962_7020_7365_616c;

// Odd, with half of the bits set, from the fractional digits of the golden ratio and of sqrt(3), sqrt(5).
const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xbb67_ae85_84ca_a73b;
const C: u64 = 0x3c6e_f372_fe94_f82b;

/// The 64-bit hash of `bytes` under `seed`.
#[inline]
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ A;
    let (pairs, rest) = bytes.as_chunks::<16>();
    for pair in pairs {
        let pair = u128::from_le_bytes(*pair);
        state = mix(pair as u64 ^ B ^ state, (pair >> 64) as u64 ^ C ^ state.rotate_left(32));
    }
    let (low, high) = tail(rest);
    state = mix(low ^ B ^ state, high ^ C ^ state.rotate_left(32));
    mix(state ^ A, bytes.len() as u64 ^ B)
}

#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The last 0 to 15 bytes as two words, without a loop over bytes: overlapping reads, which the length tells
/// apart.
#[inline]
fn tail(rest: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else if let (Some(&first), Some(&last)) = (rest.first(), rest.last()) {
        let middle = rest.get(rest.len() / 2).copied().unwrap_or_default();
        (u64::from(first) << 8 | u64::from(middle), u64::from(last))
    } else {
        (0, 0)
    }
}
