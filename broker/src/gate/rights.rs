use super::Gate;
use crate::authn::Principal;
use crate::hub::{Cause, Hub, SessionKey};
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::TopicFilter;

/// How a session's principal stands now.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Nothing that concerns it has changed.
    Unchanged,
    /// The directory has changed since; this is the principal as it is now.
    Changed(Box<Principal>),
    /// It must end, for this cause.
    Over(Cause),
}

/// Looks at a principal with the directory's eyes. Cheap while the directory has not changed.
pub(crate) fn standing(principal: &Principal, gate: &Gate, wall: UnixTime) -> Standing {
    if principal.is_expired(wall) {
        return Standing::Over(Cause::Expired);
    }
    if principal.revision == gate.directory.revision() {
        return Standing::Unchanged;
    }
    match gate.authn.recheck(principal, wall) {
        Ok(principal) => Standing::Changed(Box::new(principal)),
        Err(refusal) => Standing::Over(match refusal.reason {
            RefusalReason::DeviceSuspended | RefusalReason::DevicePending => Cause::Suspended,
            RefusalReason::KeyExpired => Cause::Expired,
            _ => Cause::Revoked,
        }),
    }
}

/// Measures a session by its principal as it is now: subscriptions that its rights no longer cover end.
pub(crate) fn renew(gate: &Gate, hub: &mut Hub, key: SessionKey, principal: &Principal) {
    let Some(session) = hub.session_mut(key) else {
        return;
    };
    session.principal = principal.clone();
    hub.recheck(key, |filter| {
        let filter = TopicFilter::new(filter).ok()?;
        gate.policy.subscribe(principal, filter).ok()
    });
}
