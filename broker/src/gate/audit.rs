//! What the gate tells the audit log: who, from where, what was tried, and exactly why it ended as it did.
use std::net::SocketAddr;

use super::permit::denied_reason;
use super::transport::TransportError;
use super::{Denial, Established};
use crate::authn::Refusal;
use crate::authz::Denied;
use crate::hub::{Cause, Loser, Loss, Lost, Session, Times};
use crate::shard::{ListenerId, Outbox};
use crate::telemetry::event::{
    DisconnectCause, Event, EventKind, Origin, Outcome, RightAction, RightReason, peer_text,
};
use crate::telemetry::ration::Rationed;
use crate::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::ident::KeyId;
use keygate_protocol::login::METHOD;
use keygate_protocol::mqtt::{Connect, DecodeError, ReasonCode, Version};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: ListenerId,
}

impl Source {
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            listener: self.listener.door,
            peer: self.peer,
            connection: Some(self.number),
        }
    }

    /// A rule of MQTT was broken before anybody was known.
    pub(crate) fn malformed(&self, error: DecodeError, times: Times) -> Event {
        self.broke_rule(None, &error.to_string(), error.reason_code(), times)
    }

    /// A rule of MQTT was broken in a session.
    pub(crate) fn malformed_in_session(
        &self,
        error: DecodeError,
        session: &Session,
        times: Times,
    ) -> Event {
        self.broke_rule(
            Some(session),
            &error.to_string(),
            error.reason_code(),
            times,
        )
    }

    /// A well-formed packet asked a session for what it may not ask here.
    pub(crate) fn not_allowed_in_session(
        &self,
        code: ReasonCode,
        session: &Session,
        times: Times,
    ) -> Event {
        self.broke_rule(Some(session), rule_of(code), code, times)
    }

    /// TLS, WebSocket or a proxy's header cannot go on.
    pub(crate) fn broken(
        &self,
        error: &TransportError,
        session: Option<&Session>,
        times: Times,
    ) -> Event {
        self.ended_by_rule(session, &error.to_string(), None, times)
    }

    /// Something else than CONNECT came first.
    pub(super) fn not_connect(&self, times: Times) -> Event {
        self.broke_rule(
            None,
            "the first packet is not CONNECT",
            ReasonCode::ProtocolError,
            times,
        )
    }

    /// More bytes came than a login takes.
    pub(crate) fn flood(&self, times: Times) -> Event {
        self.broke_rule(
            None,
            "more bytes than a login takes",
            ReasonCode::PacketTooLarge,
            times,
        )
    }

    /// Something else than AUTH came after the challenge.
    pub(super) fn not_proof(&self, connect: &Connect<'_>, times: Times) -> Event {
        self.refused(connect, RefusalReason::DataMalformed, times)
    }

    /// The peer left between challenge and proof.
    pub(super) fn gave_up(&self, connect: &Connect<'_>, times: Times) -> Event {
        self.refused(connect, RefusalReason::GaveUp, times)
    }

    /// The peer did not finish its login in time.
    pub(super) fn timed_out(&self, connect: Option<&Connect<'_>>, times: Times) -> Event {
        self.login(
            Some(RefusalReason::TimedOut),
            connect.map(Who::claimed).unwrap_or_default(),
            times,
        )
    }

    pub(crate) fn login_refused(
        &self,
        connect: &Connect<'_>,
        refusal: &Refusal,
        times: Times,
    ) -> Event {
        let who = Who {
            identity: refusal.identity.as_deref(),
            ..Who::claimed(connect)
        };
        self.login(Some(refusal.reason), who, times)
    }

    /// The device proved itself, and there is no place for its session. With the code that says so.
    pub(crate) fn session_refused(
        &self,
        connect: &Connect<'_>,
        identity: &str,
        reason: RefusalReason,
        times: Times,
    ) -> (Event, ReasonCode) {
        let refusal = Refusal::new(reason, identity);
        let code = refusal.code;
        (self.login_refused(connect, &refusal, times), code)
    }

    /// The CONNECT asked for a will that nobody may leave here.
    pub(super) fn will_refused(
        &self,
        connect: &Connect<'_>,
        code: ReasonCode,
        times: Times,
    ) -> Event {
        let topic = connect.will.as_ref().map_or("", |will| will.topic);
        let kind = EventKind::Right {
            action: RightAction::Will,
            topic: peer_text(topic),
            reason: RightReason::InvalidTopic,
            identity: Box::default(),
            client_id: peer_text(connect.client_id),
            code: Some(connack_code(connect.version, code)),
            origin: self.origin(),
        };
        Event {
            wall: times.wall,
            kind,
        }
    }

    /// The device proved itself and may not leave this will.
    pub(crate) fn will_denied(
        &self,
        connect: &Connect<'_>,
        identity: &str,
        topic: &str,
        denied: &Denied,
        times: Times,
    ) -> Event {
        let kind = EventKind::Right {
            action: RightAction::Will,
            topic: peer_text(topic),
            reason: denied_reason(denied),
            identity: peer_text(identity),
            client_id: peer_text(connect.client_id),
            code: Some(connack_code(connect.version, ReasonCode::NotAuthorized)),
            origin: self.origin(),
        };
        Event {
            wall: times.wall,
            kind,
        }
    }

    pub(crate) fn login_accepted(&self, session: &Session, times: Times) -> Event {
        self.login(None, Who::proved(session), times)
    }

    /// An open session proved itself again, or failed to.
    pub(super) fn login_again(
        &self,
        session: &Session,
        reason: Option<RefusalReason>,
        times: Times,
    ) -> Event {
        self.login(
            reason,
            Who {
                again: true,
                ..Who::proved(session)
            },
            times,
        )
    }

    /// A session ended.
    pub(crate) fn ended(&self, session: &Session, cause: &Cause, times: Times) -> Event {
        let kind = EventKind::Disconnect {
            cause: disconnect_cause(cause),
            identity: peer_text(session.principal.id()),
            client_id: peer_text(&session.client_id),
            origin: self.origin(),
        };
        Event {
            wall: times.wall,
            kind,
        }
    }

    fn refused(&self, connect: &Connect<'_>, reason: RefusalReason, times: Times) -> Event {
        self.login(Some(reason), Who::claimed(connect), times)
    }

    fn login(&self, reason: Option<RefusalReason>, who: Who<'_>, times: Times) -> Event {
        let kind = EventKind::Login {
            outcome: if reason.is_none() {
                Outcome::Accepted
            } else {
                Outcome::Refused
            },
            reason,
            identity: who.identity.map(peer_text),
            client_id: peer_text(who.client_id),
            method: who.method,
            key_id: who.key_id,
            again: who.again,
            origin: self.origin(),
        };
        Event {
            wall: times.wall,
            kind,
        }
    }

    fn broke_rule(
        &self,
        session: Option<&Session>,
        rule: &str,
        code: ReasonCode,
        times: Times,
    ) -> Event {
        self.ended_by_rule(session, rule, Some(code), times)
    }

    fn ended_by_rule(
        &self,
        session: Option<&Session>,
        rule: &str,
        code: Option<ReasonCode>,
        times: Times,
    ) -> Event {
        let kind = EventKind::Malformed {
            identity: session.map(|session| peer_text(session.principal.id())),
            client_id: session.map(|session| peer_text(&session.client_id)),
            rule: rule.into(),
            code: code.map(ReasonCode::value),
            origin: self.origin(),
        };
        Event {
            wall: times.wall,
            kind,
        }
    }
}

impl Established<'_> {
    /// Records that a right was refused, as far as this session may fill the trail with it.
    pub(super) fn record_denial(&self, denial: Option<&Denial<'_>>, out: &mut Outbox) {
        let (Some(denial), Some(session)) = (denial, self.hub.session(self.key)) else {
            return;
        };
        let per_s = self.gate.limits.denied_events_s;
        let mut ration = session.denials.get();
        let rationed = ration.take(per_s, self.times.now);
        session.denials.set(ration);
        if rationed == Rationed::HoldBack {
            self.gate.reached.denied_events_s.add();
            return;
        }
        let identity = session.principal.id();
        let kind = denial.event(identity, &session.client_id, self.source.origin());
        let wall = self.times.wall;
        out.record(Event { wall, kind }, rationed);
    }
}

/// Messages that a full queue could not take.
pub(crate) fn undelivered(loss: Loss, times: Times) -> Event {
    let (identity, client_id, share) = match loss.to {
        Loser::Session(identity, client) => (Some(identity), Some(peer_text(&client)), None),
        Loser::Group(filter) => (None, None, Some(peer_text(&filter))),
    };
    let (bound, count) = match loss.what {
        Lost::Begins(bound) => (Some(bound.into()), None),
        Lost::Ends(count) => (None, Some(count.into())),
    };
    let kind = EventKind::Undelivered {
        bound,
        count,
        identity,
        client_id,
        share,
    };
    Event {
        wall: times.wall,
        kind,
    }
}

/// Whom a login event is about.
#[derive(Clone, Copy, Default)]
struct Who<'a> {
    identity: Option<&'a str>,
    client_id: &'a str,
    method: Option<Method>,
    key_id: Option<KeyId>,
    again: bool,
}

impl<'a> Who<'a> {
    /// Somebody who proved nothing: the client id is a claim.
    fn claimed(connect: &Connect<'a>) -> Self {
        let identity = Some(connect.client_id).filter(|id| !id.is_empty());
        Self {
            identity,
            client_id: connect.client_id,
            method: method_of(connect),
            key_id: None,
            again: false,
        }
    }

    fn proved(session: &'a Session) -> Self {
        Self {
            identity: Some(session.principal.id()),
            client_id: &session.client_id,
            method: Some(session.principal.method),
            key_id: session.principal.key_id,
            again: false,
        }
    }
}

/// How this CONNECT tries to prove who it is, as far as it is a way that we know.
fn method_of(connect: &Connect<'_>) -> Option<Method> {
    match connect.properties.auth_method {
        Some(METHOD) => Some(Method::KgEd25519),
        Some(_) => None,
        None => connect.password.map(|_| Method::Assertion),
    }
}

/// What CONNACK says in this version.
fn connack_code(version: Version, code: ReasonCode) -> u8 {
    match version {
        Version::V5 => code.value(),
        Version::V311 => code.return_code().value(),
    }
}

/// The rule that a well-formed packet of an open session broke.
pub(crate) fn rule_of(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::TopicAliasInvalid => "a topic alias higher than declared",
        ReasonCode::ReceiveMaximumExceeded => "more unacknowledged publishes than declared",
        ReasonCode::TopicNameInvalid => "a topic with too many levels",
        ReasonCode::QuotaExceeded => "no room for a message that must be kept",
        _ => "a packet that does not fit the state of the session",
    }
}

/// Why a session ended, in the words of the trail.
pub(crate) fn disconnect_cause(cause: &Cause) -> DisconnectCause {
    match cause {
        Cause::Disconnected {
            with_will: false, ..
        } => DisconnectCause::ByClient,
        Cause::Disconnected {
            with_will: true, ..
        } => DisconnectCause::ByClientWithWill,
        // The last two end sessions that have no connection any more.
        Cause::ConnectionLost | Cause::SessionExpired | Cause::Replaced => DisconnectCause::Lost,
        Cause::KeepAlive => DisconnectCause::KeepAlive,
        Cause::TakenOver => DisconnectCause::TakenOver,
        Cause::Revoked => DisconnectCause::Revoked,
        Cause::Suspended => DisconnectCause::Suspended,
        Cause::Expired => DisconnectCause::Expired,
        Cause::NotAuthorized => DisconnectCause::RightLost,
        Cause::Reauthentication => DisconnectCause::ReauthenticationRefused,
        Cause::Malformed(_) | Cause::Protocol(_) => DisconnectCause::Malformed,
        Cause::Quota => DisconnectCause::SlowConsumer,
        Cause::ShuttingDown => DisconnectCause::ServerShutdown,
        Cause::Fault => DisconnectCause::Internal,
        Cause::Upstream(_) => DisconnectCause::Upstream,
    }
}
