//! How much of the audit trail one source may fill.

use keygate_protocol::time::Millis;

/// A burst, in seconds of its rate: what an honest source does wrong at once, and no more.
pub const BURST_S: u32 = 100;

/// A burst that drains with time: whoever uses it up is counted instead of recorded, so that nobody rolls the trail over
/// or fills the ring by being refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ration {
    used: u32,
    held_back: u32,
    at: Millis,
}

/// What to do with one more event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rationed {
    /// Record it, and before it how many were held back.
    Record {
        /// Events that were counted only, since the last one that was recorded.
        held_back: u32,
    },
    /// Count it only.
    HoldBack,
}

impl Ration {
    /// Asks for one event, of [`BURST_S`] seconds' worth at once and `per_s` in the long run.
    pub fn take(&mut self, per_s: u32, now: Millis) -> Rationed {
        let burst = per_s.saturating_mul(BURST_S);
        let drained = now.since(self.at) * u64::from(per_s) / 1_000;
        if drained > 0 {
            self.used = self
                .used
                .saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX));
            self.at = now;
        }
        if self.used >= burst {
            self.held_back = self.held_back.saturating_add(1);
            return Rationed::HoldBack;
        }
        self.used += 1;
        Rationed::Record {
            held_back: std::mem::take(&mut self.held_back),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_by_one_with_the_count_of_the_rest() {
        let mut ration = Ration::default();
        let mut take = |ms| ration.take(1, Millis(ms));
        for _ in 0..BURST_S {
            assert_eq!(take(5_000), Rationed::Record { held_back: 0 });
        }
        assert_eq!(take(5_000), Rationed::HoldBack);
        assert_eq!(take(5_900), Rationed::HoldBack);
        assert_eq!(take(6_000), Rationed::Record { held_back: 2 });
        assert_eq!(take(6_500), Rationed::HoldBack);
    }
}
