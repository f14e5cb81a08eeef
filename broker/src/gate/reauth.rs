use super::{Established, reply};
use crate::authn::{Accepted, ProofMessage, Reattempted, Refusal};
use crate::hub::Cause;
use crate::shard::Outbox;
use crate::telemetry::reason::Method;
use keygate_protocol::mqtt::{Auth, ReasonCode, Version};

/// AUTH in an open session: the same identity proves itself again (MQTT 5 §4.12.1). Rights and expiry change together
/// when it has, and not at all when it has not; then the session ends.
pub(super) fn auth(
    session: &mut Established<'_>,
    auth: &Auth<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let Some(open) = session.hub.session_mut(session.key) else {
        return Ok(());
    };
    // Only a client that logged in with a method may go on with it (MQTT 5 §4.12).
    if open.version != Version::V5 || open.principal.method != Method::KgEd25519 {
        return Err(Cause::Protocol(ReasonCode::ProtocolError));
    }
    match (auth.code, open.reauthentication.take()) {
        (ReasonCode::ReAuthenticate, None) => begin(session, auth, out),
        (ReasonCode::ContinueAuthentication, Some(pending)) => {
            let message = ProofMessage {
                method: auth.method,
                data: auth.data,
                now: session.times.now,
                wall: session.times.wall,
            };
            match session.gate.authn.prove(pending, &message) {
                Ok(accepted) => renewed(session, &accepted, auth, out),
                Err(refusal) => Err(refused(session, &refusal, out)),
            }
        }
        // A second 0x19 while one is pending, or an answer that nobody asked for.
        _ => Err(Cause::Protocol(ReasonCode::ProtocolError)),
    }
}

fn begin(session: &mut Established<'_>, auth: &Auth<'_>, out: &mut Outbox) -> Result<(), Cause> {
    let Some(open) = session.hub.session(session.key) else {
        return Ok(());
    };
    let attempted = Reattempted {
        principal: &open.principal,
        client_id: &open.client_id,
        method: auth.method,
        data: auth.data,
        listener: session.gate.rules(session.source.listener),
        now: session.times.now,
    };
    match session
        .gate
        .authn
        .reauthenticate(&attempted, session.random)
    {
        Ok((challenge, pending)) => {
            let method = auth.method.unwrap_or_default();
            reply::auth(
                ReasonCode::ContinueAuthentication,
                method,
                Some(&challenge),
                out.to(session.conn),
            );
            if let Some(context) = pending.exporter_context() {
                out.exports.push((session.conn, *context));
            }
            if let Some(open) = session.hub.session_mut(session.key) {
                open.reauthentication = Some(pending);
            }
            Ok(())
        }
        Err(refusal) => Err(refused(session, &refusal, out)),
    }
}

fn renewed(
    session: &mut Established<'_>,
    accepted: &Accepted,
    auth: &Auth<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    session
        .hub
        .reauthenticated(session.key, accepted.principal.clone());
    if let Some(open) = session.hub.session(session.key) {
        out.events
            .push(session.source.login_again(open, None, session.times));
    }
    let proof = accepted
        .auth_data
        .as_ref()
        .map(|proof| &proof.as_bytes()[..]);
    let method = auth.method.unwrap_or_default();
    reply::auth(ReasonCode::Success, method, proof, out.to(session.conn));
    Ok(())
}

fn refused(session: &Established<'_>, refusal: &Refusal, out: &mut Outbox) -> Cause {
    if let Some(open) = session.hub.session(session.key) {
        out.events.push(
            session
                .source
                .login_again(open, Some(refusal.reason), session.times),
        );
    }
    Cause::Reauthentication
}
