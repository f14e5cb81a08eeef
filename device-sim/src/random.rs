//! Randomness: fresh bytes from the system for what must never repeat, and a seeded spread for what must repeat.

use sha2::{Digest, Sha256};

/// The system had no randomness to give.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system's random source failed; check that /dev/urandom can be read")]
pub struct NoRandomness;

/// Fresh bytes from the system: nonces, run tags, message ids.
///
/// # Errors
/// When the system's random source fails.
pub fn fresh<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A seeded spread: the same seed, stream and position give the same number, in any order of asking.
///
/// It carries no state, so a device can ask for its hundredth instant without anyone having asked for the others, and
/// nothing needs to be stored to measure from it later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spread {
    seed: u64,
}

impl Spread {
    /// Spreads by this seed.
    #[must_use]
    pub fn new(seed: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(seed.as_bytes()).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self {
            seed: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }

    /// A number in `0..bound` for a position of a stream; zero when `bound` is zero.
    #[must_use]
    pub fn below(&self, stream: u64, index: u64, step: u64, bound: u64) -> u64 {
        let mixed = mix(mix(mix(self.seed ^ stream.rotate_left(48)) ^ index) ^ step);
        // The high half of the product: as even as the modulo is not (Lemire, "Fast random integer generation", 2019).
        let scaled = (u128::from(mixed) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_position_gives_the_same_number_in_any_order() {
        let spread = Spread::new("seed-1");
        let forwards: Vec<u64> = (0..50)
            .map(|index| spread.below(1, index, 0, 1_000))
            .collect();
        let backwards: Vec<u64> = (0..50)
            .rev()
            .map(|index| spread.below(1, index, 0, 1_000))
            .collect();
        assert_eq!(forwards, backwards.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn seeds_streams_and_positions_differ() {
        let one = Spread::new("one");
        assert_ne!(
            one.below(0, 0, 0, u64::MAX),
            Spread::new("two").below(0, 0, 0, u64::MAX)
        );
        assert_ne!(one.below(0, 0, 0, u64::MAX), one.below(1, 0, 0, u64::MAX));
        assert_ne!(one.below(0, 0, 0, u64::MAX), one.below(0, 1, 0, u64::MAX));
        assert_ne!(one.below(0, 0, 0, u64::MAX), one.below(0, 0, 1, u64::MAX));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let spread = Spread::new("bounds");
        let mut seen = [false; 10];
        for index in 0..1_000 {
            let drawn = usize::try_from(spread.below(3, index, 7, 10)).expect("small");
            seen[drawn] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(spread.below(3, 0, 0, 0), 0);
    }
}
