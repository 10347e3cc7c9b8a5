//! What age takes out of the replay cache, and when no clock may say so.

/// Nothing is trimmed by age while the host's clock and the store's differ by more, in milliseconds: a clock a day ahead
/// would trim everything at once.
const CLOCKS_APART_MS: u64 = 60_000;

/// Entries whose source time is older than this go, in milliseconds since 1970.
///
/// # Errors
/// The clocks differ by so many milliseconds: trim nothing.
pub fn keep_since(host_ms: u64, store_ms: u64, retention_ms: u64) -> Result<u64, u64> {
    let apart = host_ms.abs_diff(store_ms);
    if apart > CLOCKS_APART_MS { Err(apart) } else { Ok(host_ms.saturating_sub(retention_ms)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_trim_nothing() {
        assert_eq!(keep_since(1_000_000, 1_050_000, 400_000), Ok(600_000));
        assert_eq!(keep_since(1_000_000, 1_060_001, 400_000), Err(60_001));
        assert_eq!(keep_since(1_060_001, 1_000_000, 400_000), Err(60_001));
        assert_eq!(keep_since(5, 5, 10), Ok(0));
    }
}
