//! Challenges for clients that ask for one before they connect (`/challenge`, SPEC.md §8.2): stateless, so that asking
//! costs the broker no memory.
use crate::rng::Random;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use keygate_protocol::assertion::CNONCE_LIFE_S;
use keygate_protocol::time::Millis;
use sha2::Sha256;
use std::fmt;

/// How long a challenge may be answered (SPEC.md §6.3).
pub const CHALLENGE_LIFE_MS: u64 = CNONCE_LIFE_S * 1_000;

/// Length of a challenge as text.
pub const CHALLENGE_TEXT_LEN: usize = BYTES_LEN / 3 * 4;

/// A shard reads the clock once a turn, so a challenge that another thread has just made can seem to come from the near
/// future. More than this is another clock.
const CLOCK_LAG_MS: u64 = 1_000;

const TIME_LEN: usize = 6;
/// Makes challenges of the same millisecond differ, and all of them unpredictable.
const RANDOM_LEN: usize = 8;
/// 128 bits: nobody guesses one in the minute that it lives.
const MAC_LEN: usize = 16;
const BYTES_LEN: usize = TIME_LEN + RANDOM_LEN + MAC_LEN;
// Whole groups of three: the text has no left-over bits, and so one spelling.
const _: () = assert!(BYTES_LEN.is_multiple_of(3));
// SPEC.md §8.2: a broker keeps to 43 characters.
const _: () = assert!(CHALLENGE_TEXT_LEN <= 43);

const CONTEXT: &[u8] = b"keygate cnonce v1";

/// The key behind the challenges of one broker, for as long as it runs: after a restart old challenges are forged ones.
///
/// A challenge is time ‖ random ‖ MAC over both and the broker id. It is bound to no device and no address; who answers
/// it signs it. All threads that issue or check must read the same monotonic clock.
///
/// ```
/// use keygate_broker::authn::{ChallengeKeys, ChallengeState, CHALLENGE_LIFE_MS};
/// use keygate_broker::rng::SeededRandom;
/// use keygate_protocol::time::Millis;
///
/// let mut random = SeededRandom::new(1);
/// let keys = ChallengeKeys::new("kg-7f3a9c", &mut random);
/// let now = Millis(5_000);
/// let challenge = keys.issue(now, &mut random);
/// assert_eq!(keys.check(&challenge, now), ChallengeState::Fresh);
/// assert_eq!(keys.check(&challenge, now.plus(CHALLENGE_LIFE_MS + 1)), ChallengeState::Stale);
/// assert_eq!(keys.check("AAAA", now), ChallengeState::Forged);
/// ```
pub struct ChallengeKeys {
    mac: Hmac<Sha256>,
}

/// What a challenge is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChallengeState {
    /// Made by this broker since its start, for this broker id, in the last minute.
    Fresh,
    /// Made by this broker, too long ago.
    Stale,
    /// Not made by this broker since its start.
    Forged,
}

impl ChallengeKeys {
    /// A new key from `random`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub fn new(broker_id: &str, random: &mut dyn Random) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is a key");
        mac.update(CONTEXT);
        // A broker id has at most 64 bytes; the length in front keeps it apart from what follows.
        mac.update(&[u8::try_from(broker_id.len()).unwrap_or(u8::MAX)]);
        mac.update(broker_id.as_bytes());
        Self { mac }
    }

    /// A fresh challenge, as the text that goes into an assertion's `cnonce`.
    #[must_use]
    pub fn issue(&self, now: Millis, random: &mut dyn Random) -> String {
        let mut bytes = [0; BYTES_LEN];
        bytes[..TIME_LEN].copy_from_slice(&now.0.to_be_bytes()[8 - TIME_LEN..]);
        random.fill(&mut bytes[TIME_LEN..TIME_LEN + RANDOM_LEN]);
        let mac = self.mac_of(&bytes).finalize().into_bytes();
        bytes[BYTES_LEN - MAC_LEN..].copy_from_slice(&mac[..MAC_LEN]);
        Base64UrlUnpadded::encode_string(&bytes)
    }

    /// Judges a text that claims to be a challenge.
    #[must_use]
    pub fn check(&self, text: &str, now: Millis) -> ChallengeState {
        let mut bytes = [0; BYTES_LEN];
        if text.len() != CHALLENGE_TEXT_LEN || Base64UrlUnpadded::decode(text, &mut bytes).is_err()
        {
            return ChallengeState::Forged;
        }
        let mac = self.mac_of(&bytes);
        // Compares in constant time.
        if mac
            .verify_truncated_left(&bytes[BYTES_LEN - MAC_LEN..])
            .is_err()
        {
            return ChallengeState::Forged;
        }
        let mut time = [0; 8];
        time[8 - TIME_LEN..].copy_from_slice(&bytes[..TIME_LEN]);
        let issued = Millis(u64::from_be_bytes(time));
        match now.since(issued) <= CHALLENGE_LIFE_MS && issued.since(now) <= CLOCK_LAG_MS {
            true => ChallengeState::Fresh,
            false => ChallengeState::Stale,
        }
    }

    fn mac_of(&self, bytes: &[u8; BYTES_LEN]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&bytes[..TIME_LEN + RANDOM_LEN]);
        mac
    }
}

impl fmt::Debug for ChallengeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeKeys(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRandom;

    const NOW: Millis = Millis(1_000_000);

    fn keys(broker_id: &str, seed: u64) -> ChallengeKeys {
        ChallengeKeys::new(broker_id, &mut SeededRandom::new(seed))
    }

    #[test]
    fn a_challenge_is_fresh_for_a_minute_and_then_stale() {
        let keys = keys("kg-1", 1);
        let text = keys.issue(NOW, &mut SeededRandom::new(2));
        assert_eq!(text.len(), CHALLENGE_TEXT_LEN);
        let at = |ms| keys.check(&text, Millis(ms));
        assert_eq!(at(NOW.0), ChallengeState::Fresh);
        assert_eq!(at(NOW.0 + CHALLENGE_LIFE_MS), ChallengeState::Fresh);
        assert_eq!(at(NOW.0 + CHALLENGE_LIFE_MS + 1), ChallengeState::Stale);
        assert_eq!(at(u64::MAX), ChallengeState::Stale);
    }

    #[test]
    fn a_clock_that_lags_within_a_turn_is_forgiven_another_clock_is_not() {
        let keys = keys("kg-1", 1);
        let text = keys.issue(NOW, &mut SeededRandom::new(2));
        let at = |ms| keys.check(&text, Millis(ms));
        assert_eq!(at(NOW.0 - CLOCK_LAG_MS), ChallengeState::Fresh);
        assert_eq!(at(NOW.0 - CLOCK_LAG_MS - 1), ChallengeState::Stale);
    }

    #[test]
    fn two_challenges_of_one_moment_differ() {
        let keys = keys("kg-1", 1);
        let mut random = SeededRandom::new(2);
        assert_ne!(keys.issue(NOW, &mut random), keys.issue(NOW, &mut random));
    }

    #[test]
    fn a_challenge_of_another_start_or_broker_is_forged() {
        let text = keys("kg-1", 1).issue(NOW, &mut SeededRandom::new(2));
        assert_eq!(keys("kg-1", 1).check(&text, NOW), ChallengeState::Fresh);
        for other in [keys("kg-1", 9), keys("kg-2", 1)] {
            assert_eq!(other.check(&text, NOW), ChallengeState::Forged);
        }
    }

    #[test]
    fn any_changed_bit_makes_it_forged() {
        let keys = keys("kg-1", 1);
        let text = keys.issue(NOW, &mut SeededRandom::new(2));
        let bytes = Base64UrlUnpadded::decode_vec(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = Base64UrlUnpadded::encode_string(&changed);
            assert_eq!(keys.check(&changed, NOW), ChallengeState::Forged, "{bit}");
        }
    }

    #[test]
    fn text_of_another_shape_is_forged() {
        let keys = keys("kg-1", 1);
        let text = keys.issue(NOW, &mut SeededRandom::new(2));
        for bad in [
            "",
            "A",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}="),
            &"~".repeat(40),
        ] {
            assert_eq!(keys.check(bad, NOW), ChallengeState::Forged, "{bad}");
        }
    }

    #[test]
    fn debug_output_holds_no_key() {
        assert_eq!(format!("{:?}", keys("kg-1", 1)), "ChallengeKeys(secret)");
    }
}
