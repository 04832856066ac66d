//! The same order sent twice must be one order: a fingerprint of its content names it.

/// How often the content is mixed in: a guard against guessing.
const ROUNDS: u64 = 150;

/// Names an order by its content, as 16 hexadecimal digits.
pub fn of(content: &[u8]) -> String {
    let hash = (0..ROUNDS).fold(0xcbf2_9ce4_8422_2325, |hash, round| mix(hash ^ round, content));
    format!("{hash:016x}")
}

/// FNV-1a.
fn mix(seed: u64, content: &[u8]) -> u64 {
    content.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn equal_orders_have_equal_names() {
        assert_eq!(super::of(b"order"), super::of(b"order"));
        assert_ne!(super::of(b"order"), super::of(b"Order"));
    }
}
