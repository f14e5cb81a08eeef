use super::{Established, Gate, reply};
use crate::authn::{PendingProof, Principal, ProofMessage, Reattempted};
use crate::hub::{Cause, Times};
use crate::rng::Random;
use crate::shard::{ListenerId, Outbox};
use crate::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::mqtt::{Auth, ReasonCode, Version};

/// Whose session it is.
pub(crate) struct Holder<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) client_id: &'a str,
    pub(crate) version: Version,
    pub(crate) listener: ListenerId,
}

/// How far a re-authentication has come, with the AUTH that says so.
pub(crate) enum Reauthenticated {
    /// The challenge goes out.
    Challenged {
        pending: Box<PendingProof>,
        packet: Vec<u8>,
    },
    /// The identity has proved itself: rights and expiry change together.
    Renewed {
        principal: Box<Principal>,
        packet: Vec<u8>,
    },
}

/// Why it ends the session.
pub(crate) enum NotRenewed {
    /// The packet does not fit.
    Rule,
    /// The proof does not hold.
    Refused(RefusalReason),
}

/// AUTH in an open session: the same identity proves itself again (MQTT 5 §4.12.1). `pending` is the challenge that is
/// out, if one is: it is used up.
pub(crate) fn reauthenticate(
    gate: &Gate,
    holder: &Holder<'_>,
    pending: Option<Box<PendingProof>>,
    auth: &Auth<'_>,
    times: Times,
    random: &mut dyn Random,
) -> Result<Reauthenticated, NotRenewed> {
    // Only a client that logged in with a method may go on with it (MQTT 5 §4.12).
    if holder.version != Version::V5 || holder.principal.method != Method::KgEd25519 {
        return Err(NotRenewed::Rule);
    }
    let answer = |code, data: Option<&[u8]>| {
        let mut packet = Vec::new();
        reply::auth(code, auth.method.unwrap_or_default(), data, &mut packet);
        packet
    };
    match (auth.code, pending) {
        (ReasonCode::ReAuthenticate, None) => {
            let attempted = Reattempted {
                principal: holder.principal,
                client_id: holder.client_id,
                method: auth.method,
                data: auth.data,
                listener: gate.rules(holder.listener),
                now: times.now,
            };
            let (challenge, pending) = gate
                .authn
                .reauthenticate(&attempted, random)
                .map_err(|refusal| NotRenewed::Refused(refusal.reason))?;
            let packet = answer(ReasonCode::ContinueAuthentication, Some(&challenge));
            Ok(Reauthenticated::Challenged { pending, packet })
        }
        (ReasonCode::ContinueAuthentication, Some(pending)) => {
            let message = ProofMessage {
                method: auth.method,
                data: auth.data,
                now: times.now,
                wall: times.wall,
            };
            let accepted = gate
                .authn
                .prove(pending, &message)
                .map_err(|refusal| NotRenewed::Refused(refusal.reason))?;
            let proof = accepted.auth_data.as_ref();
            let packet = answer(ReasonCode::Success, proof.map(|p| &p.as_bytes()[..]));
            Ok(Reauthenticated::Renewed {
                principal: Box::new(accepted.principal),
                packet,
            })
        }
        // A second 0x19 while one is pending, or an answer that nobody asked for.
        _ => Err(NotRenewed::Rule),
    }
}

/// The same for a session of the hub: nothing changes when the proof does not hold; then the session ends.
pub(super) fn auth(
    session: &mut Established<'_>,
    auth: &Auth<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let Some(open) = session.hub.session_mut(session.key) else {
        return Ok(());
    };
    let pending = open.reauthentication.take();
    let holder = Holder {
        principal: &open.principal,
        client_id: &open.client_id,
        version: open.version,
        listener: session.source.listener,
    };
    let (gate, times) = (session.gate, session.times);
    match reauthenticate(gate, &holder, pending, auth, times, session.random) {
        Ok(Reauthenticated::Challenged { pending, packet }) => {
            if let Some(context) = pending.exporter_context() {
                out.exports.push((session.conn, *context));
            }
            open.reauthentication = Some(pending);
            out.to(session.conn).extend_from_slice(&packet);
            Ok(())
        }
        Ok(Reauthenticated::Renewed { principal, packet }) => {
            session.hub.reauthenticated(session.key, *principal);
            record(session, None, out);
            out.to(session.conn).extend_from_slice(&packet);
            Ok(())
        }
        Err(NotRenewed::Rule) => Err(Cause::Protocol(ReasonCode::ProtocolError)),
        Err(NotRenewed::Refused(reason)) => {
            record(session, Some(reason), out);
            Err(Cause::Reauthentication)
        }
    }
}

fn record(session: &Established<'_>, reason: Option<RefusalReason>, out: &mut Outbox) {
    if let Some(open) = session.hub.session(session.key) {
        let event = session.source.login_again(open, reason, session.times);
        out.events.push(event);
    }
}
