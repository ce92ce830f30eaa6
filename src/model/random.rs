//! Randomness: the only place that asks for it. In the component it is WASI's.

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
