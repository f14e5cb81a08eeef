//! The signed assertion as password (SPEC.md §6).
//!
//! Order: everything that the text and the CONNECT alone decide; one look-up; exactly one verification; then what only
//! the owner of the key may learn.
use super::broker::{Accepted, Authn};
use super::challenge::ChallengeState;
use super::jws::{Claims, Header, Jws};
use super::principal::check_standing;
use super::refusal::Refusal;
use super::replay::{ReplayError, ReplayMemory};
use super::rules::{ListenerRules, Naming, Reuse, Suffix};
use super::{CHALLENGE_LIFE_MS, Method};
use crate::identity::{Device, DeviceKey};
use crate::telemetry::reason::RefusalReason as Reason;
use keygate_protocol::assertion::{
    ALGORITHM, ALGORITHM_OLD, CLOCK_SKEW_S, CONFIGURED_LIFE_S_MAX, TYPE,
};
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::Id;
use keygate_protocol::time::{Millis, UnixTime};
use std::sync::{Arc, PoisonError};

/// A login by assertion: what came in the CONNECT, and where.
#[derive(Clone, Copy, Debug)]
pub struct AssertionLogin<'a> {
    /// The Client Identifier.
    pub client_id: &'a str,
    /// The User Name.
    pub username: Option<&'a str>,
    /// The Password.
    pub password: &'a [u8],
    /// The rules of the listener.
    pub listener: &'a ListenerRules,
    /// Monotonic time, of the clock that the challenges were issued by.
    pub now: Millis,
    /// Wall clock.
    pub wall: UnixTime,
}

/// What was used up on a `once` listener.
#[derive(Debug)]
pub(super) struct Spent {
    /// By `jti`, in seconds of the wall clock.
    by_id: ReplayMemory,
    /// By `cnonce`, in milliseconds of the monotonic clock, by which challenges age.
    by_challenge: ReplayMemory,
}

impl Spent {
    pub(super) fn new(bounds: super::ReplayBounds) -> Self {
        Self {
            by_id: ReplayMemory::new(bounds),
            by_challenge: ReplayMemory::new(bounds),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_id.len(), self.by_challenge.len())
    }
}

impl Authn {
    /// Judges a password that looks like an assertion. [`begin`](Self::begin) comes here; other brokers' hooks, which
    /// have no CONNECT to show, may come directly. An empty client id is refused: whoever calls names the session.
    pub fn assertion(&self, login: &AssertionLogin<'_>) -> Result<Accepted, Refusal> {
        self.named_assertion(login, None)
    }

    /// Judges it; `suffix` is for the client id that takes the place of an empty one.
    pub(super) fn named_assertion(
        &self,
        login: &AssertionLogin<'_>,
        suffix: Option<&Suffix>,
    ) -> Result<Accepted, Refusal> {
        let jws = Jws::parse(login.password)
            .map_err(|_| Refusal::new(Reason::AssertionMalformed, login.client_id))?;
        let claimed = jws.claims.id().unwrap_or(login.client_id);
        let refuse = |reason| Refusal::new(reason, claimed);
        let (id, naming) = self.check_shape(&jws, login, suffix).map_err(refuse)?;

        // Read before the look-up: a change in between makes the principal look older than it is, never newer.
        let revision = self.directory.revision();
        let device = self.directory.device(id);
        let key = device
            .as_deref()
            .and_then(|d| named_key(d, &jws.header, login.wall));
        let public = key.map_or_else(PublicKey::nobody, |key| key.public);
        let verified = jws.compact.verify(&public);

        let Some(device) = &device else {
            return Err(refuse(Reason::UnknownDevice));
        };
        let Some(key) = key else {
            return Err(refuse(Reason::KeyUnknown));
        };
        verified.map_err(|_| refuse(Reason::BadSignature))?;
        check_standing(device, key, login.wall).map_err(refuse)?;
        self.check_fresh(&jws.claims, &device.id, login)
            .map_err(refuse)?;
        Ok(Accepted {
            principal: self.principal(device, key, Method::Assertion, login.wall, revision),
            auth_data: None,
            client_id: naming.client_id,
            assigned: naming.assigned,
        })
    }

    /// What can be told without knowing anybody. Returns the claimed id, and the client id that goes with it.
    fn check_shape<'j>(
        &self,
        jws: &'j Jws<'_>,
        login: &AssertionLogin<'_>,
        suffix: Option<&Suffix>,
    ) -> Result<(&'j str, Naming), Reason> {
        let claims = &jws.claims;
        // An assertion that goes with a token must not open what the token would have narrowed.
        if jws.header.typ != TYPE || claims.has_ath {
            return Err(Reason::AssertionWrongType);
        }
        if ![ALGORITHM, ALGORITHM_OLD].contains(&jws.header.alg.as_str()) {
            return Err(Reason::AssertionAlgorithm);
        }
        let id = claims.id().ok_or(Reason::AssertionMalformed)?;
        Id::new(id).map_err(|_| Reason::AssertionMalformed)?;
        if !self.is_our_name(claims.aud.as_deref()) {
            return Err(Reason::WrongBroker);
        }
        if claims
            .client_id
            .as_deref()
            .is_some_and(|claim| claim != login.client_id)
        {
            return Err(Reason::AssertionWrongClient);
        }
        if login.username.is_some_and(|name| name != id) {
            return Err(Reason::UserNameNotOwn);
        }
        let rule = login.listener.client_id;
        let naming = rule.name(login.client_id, id, suffix);
        Ok((id, naming.ok_or(Reason::ClientIdNotOwn)?))
    }

    fn check_fresh(
        &self,
        claims: &Claims,
        id: &Arc<str>,
        login: &AssertionLogin<'_>,
    ) -> Result<(), Reason> {
        match &claims.cnonce {
            Some(cnonce) => self.check_challenge(cnonce, id, login),
            None => self.check_times(claims, id, login),
        }
    }

    fn check_challenge(
        &self,
        cnonce: &str,
        id: &Arc<str>,
        login: &AssertionLogin<'_>,
    ) -> Result<(), Reason> {
        match self.challenges.check(cnonce, login.now) {
            ChallengeState::Fresh => {}
            ChallengeState::Stale => return Err(Reason::ChallengeExpired),
            ChallengeState::Forged => return Err(Reason::ChallengeForged),
        }
        if login.listener.assertion_reuse == Reuse::UntilExpiry {
            return Ok(());
        }
        // From now on it lives at most this long, and a little longer is remembered.
        let expires = login.now.plus(2 * CHALLENGE_LIFE_MS);
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let spending = spent.by_challenge.spend(id, cnonce, expires.0, login.now.0);
        spending.map_err(spent_reason)
    }

    fn check_times(
        &self,
        claims: &Claims,
        id: &Arc<str>,
        login: &AssertionLogin<'_>,
    ) -> Result<(), Reason> {
        let (Some(iat), Some(exp), Some(jti)) = (claims.iat, claims.exp, claims.jti()) else {
            return Err(Reason::AssertionMalformed);
        };
        let wall = login.wall.0;
        let life_max = login
            .listener
            .assertion_ttl_max_s
            .min(CONFIGURED_LIFE_S_MAX);
        if exp <= iat {
            return Err(Reason::AssertionMalformed);
        }
        if exp - iat > life_max {
            return Err(Reason::AssertionLifetime);
        }
        let soonest = wall.saturating_add(CLOCK_SKEW_S);
        if iat > soonest || claims.nbf.is_some_and(|nbf| nbf > soonest) {
            return Err(Reason::AssertionFromFuture);
        }
        let expires = exp.saturating_add(CLOCK_SKEW_S);
        if wall >= expires {
            return Err(Reason::AssertionExpired);
        }
        if login.listener.assertion_reuse == Reuse::UntilExpiry {
            return Ok(());
        }
        // What was used before the start is forgotten. One gap is left open: a device whose clock is ahead dates its
        // assertion later than it uses it, so a restart within the skew after that use lets it be used once more. To
        // close it, every device would wait out the skew after each restart.
        if iat < self.started.0 {
            return Err(Reason::AssertionBeforeStart);
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let spending = spent.by_id.spend(id, jti, expires, wall);
        spending.map_err(spent_reason)
    }
}

/// The one key to verify with. A kid chooses among the device's keys; without one there must be no choice to make.
fn named_key<'d>(device: &'d Device, header: &Header, wall: UnixTime) -> Option<&'d DeviceKey> {
    match &header.kid {
        Some(kid) => device.key(kid.parse().ok()?),
        None => {
            let mut valid = device.keys.iter().filter(|key| key.is_valid_at(wall));
            let only = valid.next();
            match (only, valid.next()) {
                // With no valid key any will do: what it signs is refused for its age, and says so in the log.
                (None, _) => device.keys.first(),
                (Some(_), None) => only,
                (Some(_), Some(_)) => None,
            }
        }
    }
}

fn spent_reason(error: ReplayError) -> Reason {
    match error {
        ReplayError::Used => Reason::AssertionReused,
        ReplayError::Expired => Reason::AssertionExpired,
        ReplayError::IdentityFull | ReplayError::Full => Reason::ReplayMemoryFull,
    }
}
