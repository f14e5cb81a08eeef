//! What was used once and may not be used again.
use keygate_protocol::crypto::sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Live entries of one identity. An honest device that reconnects with a new assertion every ten seconds holds 30 at
/// the usual life of five minutes; more is a device gone wild, and its trouble stays its own.
pub const REPLAY_PER_IDENTITY_MAX: usize = 32;

/// Live entries of all identities together: about 12 MB when full. Entries cost a valid signature each, so only
/// enrolled devices can fill it.
pub const REPLAY_TOTAL_MAX: usize = 65_536;

/// Expired entries removed by one call, so that a call's work is bounded. More than the one that a call adds, so that
/// the backlog shrinks.
const EVICTIONS_MAX: usize = 64;

/// Remembers used assertions until they expire by themselves.
///
/// What a wrong answer costs: an entry forgotten early lets somebody who listened on a plain connection log in with
/// what he heard. An entry kept too long only uses up the identity's own share. So entries go only when their time is
/// over by the latest clock ever seen here, and a full memory refuses instead of forgetting.
#[derive(Debug)]
pub struct ReplayMemory {
    bounds: ReplayBounds,
    by_identity: BTreeMap<Arc<str>, Vec<Used>>,
    by_expiry: BTreeSet<(Tick, Arc<str>, Fingerprint)>,
    /// A clock set back must not make dead entries useful again.
    latest: Tick,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayBounds {
    /// Live entries of one identity.
    pub per_identity: usize,
    /// Live entries in all.
    pub total: usize,
}

impl Default for ReplayBounds {
    fn default() -> Self {
        Self {
            per_identity: REPLAY_PER_IDENTITY_MAX,
            total: REPLAY_TOTAL_MAX,
        }
    }
}

/// Why something may not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayError {
    /// It was used before.
    Used,
    /// Its time is over.
    Expired,
    /// This identity holds as many live entries as it may.
    IdentityFull,
    /// The memory is full.
    Full,
}

type Fingerprint = [u8; 16];

/// Seconds or milliseconds of some clock: whatever the caller of one memory always hands in.
type Tick = u64;

#[derive(Clone, Copy, Debug)]
struct Used {
    fingerprint: Fingerprint,
    expires: Tick,
}

impl ReplayMemory {
    /// An empty memory.
    #[must_use]
    pub fn new(bounds: ReplayBounds) -> Self {
        Self {
            bounds,
            by_identity: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            latest: 0,
        }
    }

    /// Uses `nonce` of `identity` up. It is remembered up to and including `expires`; after that the caller refuses it
    /// for its age. `expires` and `now` are of one clock, the same in every call.
    pub fn spend(
        &mut self,
        identity: &Arc<str>,
        nonce: &str,
        expires: u64,
        now: u64,
    ) -> Result<(), ReplayError> {
        self.latest = self.latest.max(now);
        self.evict(EVICTIONS_MAX);
        if expires < self.latest {
            return Err(ReplayError::Expired);
        }
        let fingerprint = fingerprint(nonce);
        self.evict_identity(identity);
        let live = self.by_identity.get(identity).map_or(&[][..], |used| used);
        if live.iter().any(|used| used.fingerprint == fingerprint) {
            return Err(ReplayError::Used);
        }
        if live.len() >= self.bounds.per_identity {
            return Err(ReplayError::IdentityFull);
        }
        if self.by_expiry.len() >= self.bounds.total {
            return Err(ReplayError::Full);
        }
        let used = Used {
            fingerprint,
            expires,
        };
        self.by_identity
            .entry(identity.clone())
            .or_default()
            .push(used);
        self.by_expiry
            .insert((expires, identity.clone(), fingerprint));
        Ok(())
    }

    /// How many entries are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_expiry.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_expiry.is_empty()
    }

    fn evict(&mut self, entries_max: usize) {
        for _ in 0..entries_max {
            let Some((expires, ..)) = self.by_expiry.first() else {
                return;
            };
            if *expires >= self.latest {
                return;
            }
            if let Some((_, identity, fingerprint)) = self.by_expiry.pop_first() {
                self.forget(&identity, |used| used.fingerprint == fingerprint);
            }
        }
    }

    /// Expired entries of one identity, wherever they stand in the order of expiry: they must not count against it.
    fn evict_identity(&mut self, identity: &Arc<str>) {
        let latest = self.latest;
        let Some(live) = self.by_identity.get(identity) else {
            return;
        };
        for used in live.iter().filter(|used| used.expires < latest) {
            self.by_expiry
                .remove(&(used.expires, identity.clone(), used.fingerprint));
        }
        self.forget(identity, |used| used.expires < latest);
    }

    fn forget(&mut self, identity: &Arc<str>, which: impl Fn(&Used) -> bool) {
        if let Some(live) = self.by_identity.get_mut(identity) {
            live.retain(|used| !which(used));
            if live.is_empty() {
                self.by_identity.remove(identity);
            }
        }
    }
}

/// The nonce is text from outside, up to 64 bytes; what is kept of it is short and of one length.
fn fingerprint(nonce: &str) -> Fingerprint {
    let hash = sha256(&[nonce.as_bytes()]);
    let mut fingerprint = Fingerprint::default();
    let len = fingerprint.len();
    fingerprint.copy_from_slice(&hash[..len]);
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_900_000_000;

    fn memory(per_identity: usize, total: usize) -> ReplayMemory {
        ReplayMemory::new(ReplayBounds {
            per_identity,
            total,
        })
    }

    fn id(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_nonce_is_used_once_until_it_expires() {
        let mut memory = memory(4, 4);
        let dev = id("dev-1");
        let expires = NOW + 10;
        assert_eq!(memory.spend(&dev, "n1", expires, NOW), Ok(()));
        assert_eq!(
            memory.spend(&dev, "n1", expires, NOW),
            Err(ReplayError::Used)
        );
        assert_eq!(
            memory.spend(&dev, "n1", expires, expires),
            Err(ReplayError::Used)
        );
        assert_eq!(
            memory.spend(&dev, "n1", expires, expires + 1),
            Err(ReplayError::Expired)
        );
        assert!(memory.is_empty());
    }

    #[test]
    fn identities_do_not_share_nonces() {
        let mut memory = memory(4, 4);
        assert_eq!(memory.spend(&id("a"), "n", NOW, NOW), Ok(()));
        assert_eq!(memory.spend(&id("b"), "n", NOW, NOW), Ok(()));
    }

    #[test]
    fn a_full_identity_refuses_and_leaves_others_alone() {
        let mut memory = memory(2, 10);
        for n in ["1", "2"] {
            assert_eq!(memory.spend(&id("a"), n, NOW, NOW), Ok(()));
        }
        assert_eq!(
            memory.spend(&id("a"), "3", NOW, NOW),
            Err(ReplayError::IdentityFull)
        );
        assert_eq!(memory.spend(&id("b"), "3", NOW, NOW), Ok(()));
        // Its own entries expire and make room.
        let later = NOW + 1;
        assert_eq!(memory.spend(&id("a"), "3", later, later), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_instead_of_forgetting() {
        let mut memory = memory(2, 3);
        for n in ["a", "b", "c"] {
            assert_eq!(memory.spend(&id(n), "1", NOW, NOW), Ok(()));
        }
        assert_eq!(
            memory.spend(&id("d"), "1", NOW, NOW),
            Err(ReplayError::Full)
        );
        assert_eq!(
            memory.spend(&id("a"), "1", NOW, NOW),
            Err(ReplayError::Used)
        );
        assert_eq!(memory.len(), 3);
    }

    #[test]
    fn a_clock_set_back_revives_nothing() {
        let mut memory = memory(2, 3);
        let expires = NOW + 5;
        assert_eq!(memory.spend(&id("a"), "1", expires, NOW), Ok(()));
        assert_eq!(memory.spend(&id("b"), "1", NOW + 100, NOW + 50), Ok(()));
        assert_eq!(
            memory.spend(&id("a"), "1", expires, NOW),
            Err(ReplayError::Expired)
        );
    }

    /// What the memory should do, without its data structures.
    #[derive(Default)]
    struct Model {
        used: Vec<(String, String, u64)>,
        latest: u64,
    }

    impl Model {
        fn spend(
            &mut self,
            identity: &str,
            nonce: &str,
            expires: u64,
            wall: u64,
            bounds: ReplayBounds,
        ) -> Result<(), ReplayError> {
            self.latest = self.latest.max(wall);
            let latest = self.latest;
            self.used.retain(|(_, _, expires)| *expires >= latest);
            if expires < latest {
                return Err(ReplayError::Expired);
            }
            if self
                .used
                .iter()
                .any(|(i, n, _)| i == identity && n == nonce)
            {
                return Err(ReplayError::Used);
            }
            if self.used.iter().filter(|(i, ..)| i == identity).count() >= bounds.per_identity {
                return Err(ReplayError::IdentityFull);
            }
            if self.used.len() >= bounds.total {
                return Err(ReplayError::Full);
            }
            self.used.push((identity.into(), nonce.into(), expires));
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn behaves_like_its_model(
            per_identity in 1..4_usize,
            total in 1..8_usize,
            steps in prop::collection::vec((0..4_u8, 0..6_u8, 0..12_u64, 0..6_u64, any::<bool>()), 1..120),
        ) {
            let bounds = ReplayBounds { per_identity, total };
            let mut memory = ReplayMemory::new(bounds);
            let mut model = Model::default();
            let mut wall = NOW;
            for (identity, nonce, life, step, back) in steps {
                wall = if back { wall - step } else { wall + step };
                let (identity, nonce) = (format!("id-{identity}"), format!("n-{nonce}"));
                let expires = wall + life;
                prop_assert_eq!(
                    memory.spend(&id(&identity), &nonce, expires, wall),
                    model.spend(&identity, &nonce, expires, wall, bounds)
                );
                prop_assert_eq!(memory.len(), model.used.len());
                prop_assert!(memory.len() <= total);
            }
        }
    }
}
