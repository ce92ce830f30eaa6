//! Randomness: the only place that asks for it. In the component it is WASI's.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// `N` bytes from the platform's cryptographically secure generator.
///
/// # Panics
///
/// When the platform has no randomness to give. A secret or an id made without
/// it would be worse than a request that fails.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the platform must provide randomness");
    bytes
}

/// `N` bytes, 32 at most, for what must be unlike all others and is no secret: the ids of requests, and how
/// long somebody waits. They follow from randomness that the instance asks for once, since the platform
/// gives eight bytes with each call: SHA-256 of that and of how many there were before.
///
/// # Panics
///
/// As [`bytes`].
pub fn unique<const N: usize>() -> [u8; N] {
    const { assert!(N <= 32) };
    static SEED: LazyLock<[u8; 32]> = LazyLock::new(bytes);
    static COUNT: AtomicU64 = AtomicU64::new(0);

    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let digest = Sha256::new()
        .chain_update(*SEED)
        .chain_update(count.to_be_bytes())
        .finalize();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_are_alike() {
        let all: BTreeSet<[u8; 16]> = (0..10_000).map(|_| unique()).collect();
        assert_eq!(all.len(), 10_000);
        // Of each byte every value is as likely as another: 256 of them leave out 94 on average.
        let first: BTreeSet<u8> = all.iter().map(|bytes| bytes[0]).collect();
        assert_eq!(first.len(), 256);
    }
}
