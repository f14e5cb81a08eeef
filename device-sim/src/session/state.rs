//! The states of a session, and what is done in each.

use keygate_protocol::crypto::PublicKey;
use keygate_protocol::login::Binding;
use keygate_protocol::mqtt::{self, Disconnect, Packet, ReasonCode, Sender, Version};

use super::exporter::{AwaitExporter, Export};
use super::login::{AwaitChallenge, AwaitConfirmation, Credential};
use super::online::{AwaitGrant, Online};
use super::password::AwaitConnack;
use super::{Failure, PACKET_MAX, Stage, Wire};
use crate::clock::Micros;

/// What every session of a run has in common.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The broker's name; any other is refused before anything is signed.
    pub broker_id: String,
    /// The broker's pinned key; with it the broker must prove itself before anything else is sent.
    pub identity_key: Option<PublicKey>,
    /// MQTT keep-alive; 0 for none.
    pub keep_alive_s: u16,
    /// How long sessions outlive their connections, s.
    pub session_expiry_s: u32,
    /// Whether logins with keys are bound to their TLS channel.
    pub binding: Binding,
}

/// The topics that a session asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// A topic filter.
    pub filter: String,
    /// Not what the session itself publishes.
    pub no_local: bool,
}

/// What a session has to tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// CONNACK granted the login.
    LoggedIn {
        /// The broker proved itself with the pinned key.
        proven: bool,
    },
    /// SUBACK granted what was wanted.
    Subscribed,
    /// The broker answered a publish.
    Acknowledged {
        /// As given to [`Session::publish`].
        tag: u32,
        /// The broker's verdict.
        code: ReasonCode,
    },
    /// A message came; it is acknowledged already.
    Message {
        /// Its topic.
        topic: &'a str,
        /// What it says.
        payload: &'a [u8],
        /// It may have come before.
        dup: bool,
    },
}

/// A session: see the [module](super) for how to drive it.
#[derive(Debug)]
pub struct Session<'a> {
    state: State<'a>,
}

#[derive(Debug)]
pub(super) enum State<'a> {
    AwaitChallenge(AwaitChallenge<'a>),
    AwaitExporter(AwaitExporter<'a>),
    AwaitConfirmation(AwaitConfirmation<'a>),
    AwaitConnack(AwaitConnack),
    AwaitGrant(AwaitGrant),
    Online(Online),
    /// Failed, or said goodbye.
    Over,
}

impl<'a> Session<'a> {
    /// Begins the login of `id` with a key or a password; `out` gets the CONNECT.
    ///
    /// # Errors
    /// When an id breaks the rules of ids.
    pub fn open(
        profile: &'a Profile,
        id: &'a str,
        credential: impl Into<Credential>,
        nonce: [u8; 16],
        wanted: Option<Wanted>,
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let state = match credential.into() {
            Credential::Key(key) => {
                State::AwaitChallenge(AwaitChallenge::open(profile, id, *key, nonce, wanted, out)?)
            }
            Credential::Password(password) => {
                State::AwaitConnack(AwaitConnack::open(profile, id, &password, wanted, out)?)
            }
        };
        Ok(Self { state })
    }

    /// Takes whole packets off the front of `bytes`, writes what they ask for, tells what they mean, and returns how
    /// many bytes were taken.
    ///
    /// # Errors
    /// Ends the session: nothing more is to be sent.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..) {
            let Some(frame) = mqtt::frame(rest, PACKET_MAX).map_err(Failure::Malformed)? else {
                break;
            };
            let packet =
                mqtt::decode(&frame, Sender::Server, Version::V5).map_err(Failure::Malformed)?;
            taken += frame.len();
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::AwaitChallenge(state) => state.handle(packet, out)?,
                State::AwaitExporter(_) => return Err(AwaitExporter::handle(&packet)),
                State::AwaitConfirmation(state) => state.handle(packet, now, out, heard)?,
                State::AwaitConnack(state) => state.handle(packet, now, out, heard)?,
                State::AwaitGrant(state) => state.handle(packet, now, out, heard)?,
                State::Online(state) => state.handle(packet, now, out, heard)?,
                State::Over => State::Over,
            };
        }
        Ok(taken)
    }

    /// Signs the proof if the login is to be bound to the TLS channel and the challenge is there; otherwise nothing happens.
    /// Call it after [`receive`](Self::receive).
    ///
    /// # Errors
    /// Ends the session: nothing more is to be sent.
    pub fn bind(&mut self, export: &mut Export<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        if !matches!(self.state, State::AwaitExporter(_)) {
            return Ok(());
        }
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::AwaitExporter(state) => state.bind(export, out)?,
            state => state,
        };
        Ok(())
    }

    /// Publishes at QoS 1. Call it only [online](Self::is_online) and with [room](Self::has_room): otherwise nothing
    /// happens.
    ///
    /// # Errors
    /// When the message does not fit a packet.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        tag: u32,
        now: Micros,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match &mut self.state {
            State::Online(online) if online.has_room() => {
                online.publish(topic, payload, tag, now, out)
            }
            _ => Ok(()),
        }
    }

    /// Time passed.
    ///
    /// # Errors
    /// When the broker is silent.
    pub fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        match &mut self.state {
            State::Online(online) => online.tick(now, out),
            _ => Ok(()),
        }
    }

    /// When to call [`tick`](Self::tick). While logging in there is none: how long that may take is the caller's.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        match &self.state {
            State::Online(online) => online.deadline(),
            _ => None,
        }
    }

    /// Logged in and, if that was wanted, subscribed.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        matches!(self.state, State::Online(_))
    }

    /// Whether another message may be under way.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(&self.state, State::Online(online) if online.has_room())
    }

    /// How far it has come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.state {
            State::AwaitChallenge(_) | State::AwaitExporter(_) => Stage::Challenge,
            State::AwaitConfirmation(_) | State::AwaitConnack(_) => Stage::Confirmation,
            State::AwaitGrant(_) => Stage::Subscribe,
            State::Online(_) | State::Over => Stage::Online,
        }
    }

    /// Says goodbye, if that may be said now: before the broker proved itself nothing may (SPEC.md §4.5).
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::AwaitGrant(_) | State::Online(_)) {
            let goodbye = Disconnect::new(ReasonCode::Success);
            // Writing to a Vec cannot fail.
            let _ = goodbye.encode(Version::V5, &mut Wire(out));
        }
        self.state = State::Over;
    }
}

impl State<'_> {
    /// What a packet means that may not come in a login.
    pub(super) fn out_of_order(stage: Stage, packet: &Packet<'_>) -> Failure {
        match packet {
            Packet::Connack(connack) if connack.code.is_error() => Failure::Refused {
                stage,
                code: connack.code,
            },
            Packet::Disconnect(disconnect) => Failure::Refused {
                stage,
                code: disconnect.code,
            },
            other => Failure::OutOfOrder {
                stage,
                packet: other.packet_type(),
            },
        }
    }
}
