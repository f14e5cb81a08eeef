//! How many signatures may be verified for whom: credit per source address and for all together. Only the peer that an
//! Echo has been returned from is charged, so nobody can spend a stranger's credit from afar.
use super::limits::{
    BAD_PROOF_COST, GOOD_PROOF_COST, SOURCE_CELLS, SOURCE_CREDIT_MAX, SOURCE_CREDIT_PER_S,
    VERIFICATIONS_BURST, VERIFICATIONS_PER_S, VERIFICATIONS_RESERVE,
};
use keygate_protocol::time::Millis;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

/// Why a request is turned away before its signature is looked at, and when to come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Throttled {
    /// This source has used its credit (4.29).
    Source {
        /// Seconds until it has enough again.
        retry_s: u32,
        /// Whether this is the first such answer within this second for this source: the one to audit.
        report: bool,
    },
    /// All sources together have, and this one is not among those that used little (5.03).
    Everybody {
        /// Seconds until there is enough again.
        retry_s: u32,
        /// As above.
        report: bool,
    },
}

/// What became of an admitted request's proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// It held.
    Good,
    /// It did not.
    Bad,
}

/// What has been used, draining with time. Empty at first, so a zeroed table is a fresh one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    used: u32,
    at: Millis,
}

impl Bucket {
    /// What has not drained yet.
    pub(super) fn used(self, per_s: u32, now: Millis) -> u32 {
        let drained = now.0.saturating_sub(self.at.0) * u64::from(per_s) / 1000;
        self.used
            .saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX))
    }

    pub(super) fn charge(&mut self, cost: u32, per_s: u32, now: Millis) {
        self.used = self.used(per_s, now).saturating_add(cost);
        self.at = now;
    }
}

/// Sources are counted in two rows of cells, each chosen by a keyed hash; a source is as guilty as its less used cell.
/// So the memory is fixed, nothing is evicted, and a flood from many addresses can not wash out who was counted; a
/// stranger suffers only if it shares both its cells with culprits.
#[derive(Debug)]
pub struct Throttle {
    keys: [(u64, u64); 2],
    rows: [Box<[Bucket]>; 2],
    everybody: Bucket,
    reports: Box<[u64]>,
}

impl Throttle {
    /// `seed` is random, so that nobody can choose addresses that share cells with a victim.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let word = |i: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|j| seed[8 * i + j]);
            u64::from_le_bytes(bytes)
        };
        let row = || vec![Bucket::default(); SOURCE_CELLS].into_boxed_slice();
        Self {
            keys: [(word(0), word(1)), (word(2), word(3))],
            rows: [row(), row()],
            everybody: Bucket::default(),
            reports: vec![0; SOURCE_CELLS].into_boxed_slice(),
        }
    }

    /// Whether one more signature may be verified for this source; if so, follow with [`charge`](Self::charge).
    ///
    /// # Errors
    /// It may not.
    pub fn admit(&mut self, source: IpAddr, now: Millis) -> Result<(), Throttled> {
        let used = self.used(source, now);
        if used > SOURCE_CREDIT_MAX - BAD_PROOF_COST {
            let over = used - (SOURCE_CREDIT_MAX - BAD_PROOF_COST);
            return Err(Throttled::Source {
                retry_s: over.div_ceil(SOURCE_CREDIT_PER_S),
                report: self.report(source, now),
            });
        }
        let limit = if used < BAD_PROOF_COST {
            VERIFICATIONS_BURST
        } else {
            VERIFICATIONS_BURST - VERIFICATIONS_RESERVE
        };
        let used = self.everybody.used(VERIFICATIONS_PER_S, now);
        if used >= limit {
            return Err(Throttled::Everybody {
                retry_s: (used - limit).div_ceil(VERIFICATIONS_PER_S).max(1),
                report: self.report(source, now),
            });
        }
        Ok(())
    }

    /// Counts a verification that [`admit`](Self::admit) allowed.
    pub fn charge(&mut self, source: IpAddr, proof: Proof, now: Millis) {
        let cost = match proof {
            Proof::Good => GOOD_PROOF_COST,
            Proof::Bad => BAD_PROOF_COST,
        };
        for row in 0..self.rows.len() {
            let cell = self.cell(row, source);
            self.rows[row][cell].charge(cost, SOURCE_CREDIT_PER_S, now);
        }
        self.everybody.charge(1, VERIFICATIONS_PER_S, now);
    }

    fn used(&self, source: IpAddr, now: Millis) -> u32 {
        (0..self.rows.len())
            .map(|row| self.rows[row][self.cell(row, source)].used(SOURCE_CREDIT_PER_S, now))
            .min()
            .unwrap_or(0)
    }

    fn report(&mut self, source: IpAddr, now: Millis) -> bool {
        let cell = self.cell(0, source);
        // Zero is "never", so seconds count from one.
        let second = now.0 / 1000 + 1;
        std::mem::replace(&mut self.reports[cell], second) != second
    }

    /// An IPv6 subscriber owns a /64, so that is what counts as one address.
    fn cell(&self, row: usize, source: IpAddr) -> usize {
        let (k0, k1) = self.keys[row];
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        match source.to_canonical() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()[..8]),
        }
        hasher.finish() as usize % SOURCE_CELLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn throttle() -> Throttle {
        Throttle::new(std::array::from_fn(|i| i as u8))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bad_until_refused(throttle: &mut Throttle, source: IpAddr, now: Millis) -> u32 {
        for count in 0..100_000 {
            if throttle.admit(source, now).is_err() {
                return count;
            }
            throttle.charge(source, Proof::Bad, now);
        }
        panic!("never refused");
    }

    #[test]
    fn bad_proofs_of_one_source_end_soon_and_hurt_no_other() {
        let mut throttle = throttle();
        let (culprit, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert_eq!(bad_until_refused(&mut throttle, culprit, Millis(0)), 40);
        assert_eq!(
            throttle.admit(culprit, Millis(0)),
            Err(Throttled::Source {
                retry_s: 1,
                report: false
            })
        );
        assert_eq!(throttle.admit(other, Millis(0)), Ok(()));
        // 20 a second come back.
        assert_eq!(bad_until_refused(&mut throttle, culprit, Millis(1000)), 20);
    }

    #[test]
    fn good_proofs_may_come_a_thousand_a_second() {
        let mut throttle = throttle();
        let gateway = ip("2001:db8::1");
        for ms in 0..10_000 {
            assert_eq!(throttle.admit(gateway, Millis(ms)), Ok(()));
            throttle.charge(gateway, Proof::Good, Millis(ms));
        }
    }

    #[test]
    fn ipv6_source_is_a_64() {
        let mut throttle = throttle();
        bad_until_refused(&mut throttle, ip("2001:db8::1"), Millis(0));
        assert!(throttle.admit(ip("2001:db8::ffff:1"), Millis(0)).is_err());
        assert_eq!(throttle.admit(ip("2001:db8:0:1::1"), Millis(0)), Ok(()));
    }

    #[test]
    fn flood_from_many_sources_leaves_the_reserve_to_the_others() {
        let mut throttle = throttle();
        let mut refused = 0;
        for round in 0..40 {
            for source in 0..512_u32 {
                let source = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + source));
                match throttle.admit(source, Millis(round)) {
                    Ok(()) => throttle.charge(source, Proof::Bad, Millis(round)),
                    Err(Throttled::Everybody { .. }) => refused += 1,
                    Err(Throttled::Source { .. }) => {}
                }
            }
        }
        assert!(refused > 10_000, "{refused}");
        let innocent = (0..200_u32)
            .map(|i| IpAddr::V4(Ipv4Addr::from(0xc000_0200 + i)))
            .filter(|source| throttle.admit(*source, Millis(40)).is_ok())
            .count();
        assert!(innocent > 190, "{innocent}");
    }

    #[test]
    fn refusals_of_a_source_are_reported_once_a_second() {
        let mut throttle = throttle();
        let culprit = ip("192.0.2.1");
        while throttle.admit(culprit, Millis(0)).is_ok() {
            throttle.charge(culprit, Proof::Bad, Millis(0));
        }
        let mut reports = 0;
        for _ in 0..1000 {
            match throttle.admit(culprit, Millis(10)) {
                Err(Throttled::Source { report, .. }) => reports += u32::from(report),
                other => panic!("{other:?}"),
            }
        }
        // The loop above had the first.
        assert_eq!(reports, 0);
        throttle.charge(culprit, Proof::Bad, Millis(1000));
        for _ in 0..40 {
            throttle.charge(culprit, Proof::Bad, Millis(1000));
        }
        assert!(matches!(
            throttle.admit(culprit, Millis(1000)),
            Err(Throttled::Source { report: true, .. })
        ));
    }
}
