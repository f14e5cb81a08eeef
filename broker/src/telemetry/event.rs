//! Every security event of the broker, one closed enum.
//!
//! An event says who did what, by which method, from where, and why it was refused, in enough detail that `keygate why`
//! answers from it alone. No secret has a place here: no field holds a signature, a nonce, a password or a token.
//! Each event is one line of JSON in the audit trail; fields without a value are left out.

use keygate_protocol::ident::KeyId;
use keygate_protocol::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

use super::reason::{Method, RefusalReason};

/// Longest text that an event keeps of what a peer sent (client ids, topics, claimed identities): the rest is cut, so
/// that nobody fills the trail with one packet.
pub const PEER_TEXT_MAX: usize = 256;

/// One line of the audit trail.
///
/// ```
/// use keygate_broker::telemetry::{Event, EventKind};
/// use keygate_protocol::time::UnixTime;
///
/// let event = Event { wall: UnixTime(1_800_000_000), kind: EventKind::Lost { count: 3 } };
/// let line = serde_json::to_string(&event).unwrap();
/// assert_eq!(line, r#"{"at":1800000000,"event":"lost","count":3}"#);
/// assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When, by the broker's wall clock.
    #[serde(rename = "at", with = "unix_time")]
    pub wall: UnixTime,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The broker itself: started, stopped, initialised.
    Broker {
        /// What it did.
        change: BrokerChange,
        /// Its name.
        broker_id: Box<str>,
        /// The version of the program.
        version: Box<str>,
    },
    /// A challenge was refused (asked for too often). Challenges that are given out are counted, not recorded.
    Challenge {
        /// Why.
        reason: RefusalReason,
        /// Where it was asked for.
        origin: Origin,
    },
    /// A session that had logged in ended.
    Disconnect {
        /// Why.
        cause: DisconnectCause,
        /// Whose session.
        identity: Box<str>,
        /// Its client id.
        client_id: Box<str>,
        /// Where it came from.
        origin: Origin,
    },
    /// A device or service was added or changed.
    Identity {
        /// What was done.
        change: Change,
        /// To whom.
        id: Box<str>,
        /// By whom.
        by: Actor,
    },
    /// Many devices were enrolled in one go.
    Import {
        /// How many were added.
        added: u64,
        /// How many were enrolled already, exactly so.
        unchanged: u64,
        /// By whom.
        by: Actor,
    },
    /// A login over MQTT, the first of a connection or a re-authentication.
    Login {
        /// How it ended.
        outcome: Outcome,
        /// Why it was refused; none when it was accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<RefusalReason>,
        /// Who it is; on a refusal, who the peer claimed to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<Box<str>>,
        /// The client id of the session.
        client_id: Box<str>,
        /// How the peer tried to prove it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<Method>,
        /// The key that the peer named.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "key_id")]
        key_id: Option<KeyId>,
        /// Whether the session already existed and proved itself again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        /// Where it came from.
        origin: Origin,
    },
    /// Events that found no room in the ring or no room on the disk: the trail has a gap here.
    Lost {
        /// How many.
        count: u64,
    },
    /// A peer broke a rule of the protocol and its connection was closed.
    Malformed {
        /// Whose session, when it had logged in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<Box<str>>,
        /// The client id, when one was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<Box<str>>,
        /// The rule, in words.
        rule: Box<str>,
        /// The reason code of the answer, as on the wire; none if it was a rule of TLS, of WebSocket or of the PROXY
        /// protocol, which have their own answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
        /// Where it came from.
        origin: Origin,
    },
    /// A topic right was refused. What is allowed is not recorded.
    Right {
        /// What was tried.
        action: RightAction,
        /// On which topic or filter.
        topic: Box<str>,
        /// Why not.
        reason: RightReason,
        /// Who tried.
        identity: Box<str>,
        /// In which session.
        client_id: Box<str>,
        /// The reason code of the answer, as on the wire; none if what was answered does not tell: MQTT 3.1.1 has no
        /// code for it, and its connection ends, or the configuration has it acknowledged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
        /// Where it came from.
        origin: Origin,
    },
    /// A token was asked for.
    Token {
        /// How it ended.
        outcome: Outcome,
        /// Why it was refused; none when it was issued.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<RefusalReason>,
        /// Whose token; on a refusal, who the peer claimed to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<Box<str>>,
        /// The key that the peer named.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "key_id")]
        key_id: Option<KeyId>,
        /// For whom it is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audience: Option<Box<str>>,
        /// The token's id (`cti`), lower hex.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_id: Option<Box<str>>,
        /// When it expires, in seconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        /// Where it was asked for.
        origin: Origin,
    },
    /// A queue was full: messages are lost to a session or a share group. Once when that begins, with the setting that
    /// left no room; for a session once more when its client is back or the session ends, with the count.
    Undelivered {
        /// The setting under `[limits]`; none when it is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bound: Option<Box<str>>,
        /// How many messages were lost; none while it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        /// Whose session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<Box<str>>,
        /// Its client id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<Box<str>>,
        /// The filter of the share group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<Box<str>>,
    },
    /// The broker behind the gate failed a session that is relayed to it. Its client is not to blame.
    Upstream {
        /// How.
        fault: UpstreamFault,
        /// The reason code that it sent, or that its bytes deserve; as on the wire.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
        /// The rule that it broke, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<Box<str>>,
        /// Whose session.
        identity: Box<str>,
        /// Its client id.
        client_id: Box<str>,
        /// Where the client came from.
        origin: Origin,
    },
}

impl EventKind {
    /// Whether something was refused: what `keygate audit --refused` shows.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Challenge { .. } | Self::Malformed { .. } | Self::Right { .. } => true,
            Self::Login { outcome, .. } | Self::Token { outcome, .. } => {
                *outcome == Outcome::Refused
            }
            Self::Broker { .. }
            | Self::Disconnect { .. }
            | Self::Identity { .. }
            | Self::Import { .. }
            | Self::Lost { .. }
            | Self::Undelivered { .. }
            | Self::Upstream { .. } => false,
        }
    }

    /// Whether it tells what an operator did, or the broker itself: peers cannot make such events.
    pub(super) fn is_of_operator(&self) -> bool {
        matches!(
            self,
            Self::Broker { .. } | Self::Identity { .. } | Self::Import { .. }
        )
    }

    /// The device or service that the event is about, if it names one.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        match self {
            Self::Disconnect { identity, .. }
            | Self::Right { identity, .. }
            | Self::Upstream { identity, .. } => Some(identity),
            Self::Identity { id, .. } => Some(id),
            Self::Login { identity, .. }
            | Self::Malformed { identity, .. }
            | Self::Token { identity, .. }
            | Self::Undelivered { identity, .. } => identity.as_deref(),
            Self::Broker { .. }
            | Self::Challenge { .. }
            | Self::Import { .. }
            | Self::Lost { .. } => None,
        }
    }

    /// The client id that the event names, if any: a refused login may have proved no identity at all.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Disconnect { client_id, .. }
            | Self::Login { client_id, .. }
            | Self::Right { client_id, .. }
            | Self::Upstream { client_id, .. } => Some(client_id),
            Self::Malformed { client_id, .. } | Self::Undelivered { client_id, .. } => {
                client_id.as_deref()
            }
            _ => None,
        }
    }
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Origin {
    /// The door.
    pub listener: Listener,
    /// The other end.
    pub peer: SocketAddr,
    /// The connection's number, unique while the broker runs; none for datagrams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
}

/// The doors of the broker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// CoAP over UDP.
    Coap,
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over WebSocket in TLS.
    Wss,
}

impl Listener {
    /// Its name, as in the trail, on the command line and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coap => "coap",
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Accepted,
    /// It did not.
    Refused,
}

/// What the broker did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerChange {
    /// The data directory was set up.
    Initialised,
    /// TLS listeners present a new certificate.
    CertificateRenewed,
    /// The certificate's files have changed and cannot be used: TLS listeners present what they did.
    CertificateRefused,
    /// The disk is full: messages that must be kept are refused.
    DiskFull,
    /// The disk has room again.
    DiskRoom,
    /// Every listener accepts.
    Started,
    /// It ended in an orderly way.
    Stopped,
}

/// What was done to a device or service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was enrolled.
    Added,
    /// It was enrolled by claim and may log in from now on.
    Approved,
    /// It may log in again.
    Resumed,
    /// It is locked out for good.
    Revoked,
    /// It is locked out until it is resumed.
    Suspended,
}

/// Who changed something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An account of the machine, by user id, through the command line.
    Uid(u32),
}

/// What a session tried to do with a topic.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RightAction {
    /// To publish.
    Publish,
    /// To be delivered a message.
    Receive,
    /// To name a topic on which it wants its answer.
    ResponseTopic,
    /// To have a message retained.
    Retain,
    /// To join a share group.
    Share,
    /// To subscribe.
    Subscribe,
    /// To leave a will.
    Will,
}

/// Why a topic right was refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RightReason {
    /// A deny rule matches, or overlaps the filter.
    Denied,
    /// The topic or filter is not well-formed.
    InvalidTopic,
    /// No rule allows it.
    NotGranted,
    /// The broker alone writes there (`$…`, presence).
    Reserved,
    /// This build cannot do it (share groups).
    Unsupported,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectCause {
    /// An operator ended it.
    Administrative,
    /// The client said goodbye.
    ByClient,
    /// The client said goodbye and asked for its will to be published.
    ByClientWithWill,
    /// The principal's time is over (its key, or the longest session allowed).
    Expired,
    /// The broker failed inside: the log on standard error says more.
    Internal,
    /// Nothing was heard for one and a half keep-alive intervals.
    KeepAlive,
    /// The connection was lost.
    Lost,
    /// The peer broke a rule of the protocol.
    Malformed,
    /// It used more than its share (messages, bytes, subscriptions).
    Quota,
    /// It tried to prove itself again and failed.
    ReauthenticationRefused,
    /// The device was revoked.
    Revoked,
    /// It did what it has no right to, and no answer could say so.
    RightLost,
    /// The broker stops.
    ServerShutdown,
    /// It does not read what it subscribed to.
    SlowConsumer,
    /// The device was suspended.
    Suspended,
    /// The same session came back on another connection.
    TakenOver,
    /// The broker that it was relayed to ended it, or is lost.
    Upstream,
}

/// How the broker behind the gate failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamFault {
    /// It ended the session.
    Ended,
    /// It did not answer in time.
    Late,
    /// The connection to it is lost, or could not be made.
    Lost,
    /// It broke a rule of the protocol.
    Malformed,
    /// It refused the session.
    Refused,
}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it ended the session",
            Self::Late => "it did not answer in time",
            Self::Lost => "the connection to it is lost",
            Self::Malformed => "it broke a rule of the protocol",
            Self::Refused => "it refused the session",
        })
    }
}

impl fmt::Display for DisconnectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Administrative => "an operator ended it",
            Self::ByClient => "the client disconnected",
            Self::ByClientWithWill => "the client disconnected and left its will",
            Self::Expired => "its time was over",
            Self::Internal => "the broker failed inside",
            Self::KeepAlive => "nothing was heard within the keep-alive time",
            Self::Lost => "the connection was lost",
            Self::Malformed => "it broke a rule of the protocol",
            Self::Quota => "it used more than its share",
            Self::ReauthenticationRefused => "its re-authentication was refused",
            Self::Revoked => "the device was revoked",
            Self::RightLost => "it did what it has no right to",
            Self::ServerShutdown => "the broker stopped",
            Self::SlowConsumer => "it did not read what it subscribed to",
            Self::Suspended => "the device was suspended",
            Self::TakenOver => "the same session came back on another connection",
            Self::Upstream => "the broker behind the gate ended it",
        })
    }
}

impl fmt::Display for RightReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "a rule denies it",
            Self::InvalidTopic => "the topic or filter is not well-formed",
            Self::NotGranted => "no rule of its roles allows it",
            Self::Reserved => "only the broker writes there",
            Self::Unsupported => "this broker does not do that yet",
        })
    }
}

/// What a peer sent, made fit for an event: cut at [`PEER_TEXT_MAX`] bytes, on a character boundary.
#[must_use]
pub fn peer_text(text: &str) -> Box<str> {
    let mut end = text.len().min(PEER_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

/// [`UnixTime`] as a plain number: the protocol crate knows no serde.
mod unix_time {
    use keygate_protocol::time::UnixTime;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &UnixTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixTime, D::Error> {
        u64::deserialize(from).map(UnixTime)
    }
}

/// [`KeyId`] as lower hex.
mod key_id {
    use keygate_protocol::ident::KeyId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(id: &Option<KeyId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<KeyId>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse())
            .transpose()
            .map_err(D::Error::custom)
    }
}
