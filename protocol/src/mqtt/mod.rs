//! A strict codec for MQTT 3.1.1 and 5: every packet, both directions, no copy, no allocation, no panic.
//!
//! Bytes come off a stream with [`frame`], become a [`Packet`] with [`decode`], and leave with the packet's `encode`.
//! A decoded packet borrows the bytes and obeys every rule that can be checked without knowing the connection's past;
//! a broken rule is a [`DecodeError`] of its own, with the reason code that reports it. Work is linear in the bytes.
//!
//! ```
//! use keygate_protocol::mqtt::{Connack, DecodeError, Packet, ReasonCode, Sender, Version, decode, frame};
//!
//! // A 3.1.1 CONNECT: name, level 4, clean session, keep-alive 60, client id "d1" — and one byte of the next packet.
//! let stream = b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x3C\x00\x02d1\xC0";
//! let first = frame(stream, 1_000)?.ok_or("more bytes are needed")?;
//! let Packet::Connect(connect) = decode(&first, Sender::Client, Version::V5)? else {
//!     return Err("a client begins with CONNECT".into());
//! };
//! assert_eq!((connect.client_id, connect.version), ("d1", Version::V311));
//! // The byte behind it begins a packet that is not there yet.
//! assert_eq!(frame(&stream[first.len()..], 1_000), Ok(None));
//!
//! let mut out = heapless::Vec::<u8, 16>::new();
//! Connack::new(false, ReasonCode::NotAuthorized).encode(connect.version, &mut out)?;
//! assert_eq!(out, b"\x20\x02\x00\x05");
//!
//! // The same CONNECT with a bit that must not be set.
//! let bad = b"\x10\x0E\x00\x04MQTT\x04\x03\x00\x3C\x00\x02d1";
//! let refused = decode(&frame(bad, 1_000)?.unwrap(), Sender::Client, Version::V5);
//! assert_eq!(refused, Err(DecodeError::ConnectFlagReserved));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Encoding writes what a value says: it refuses what no length field can express and a QoS 1 or 2 PUBLISH without a
//! packet identifier; every other rule is the builder's to keep. What was decoded can always be encoded again.
//!
//! What the codec leaves to its callers, because it depends on the connection or on policy: which packet may come now,
//! empty and unwelcome client identifiers, the maxima that the ends told each other, whether a topic alias is known,
//! whether AUTH repeats the method of CONNECT, payloads that are not what their format indicator says.
//!
//! | file | what it holds |
//! |---|---|
//! | `frame`, `packet` | cutting a stream, all packets in one type |
//! | `connect` `will` `connack` `auth` `disconnect` | a connection's life |
//! | `publish` `delivery` `message` `ack` | messages |
//! | `subscribe` `suback` `unsubscribe` | subscriptions |
//! | `terms` `kind` `code` `error` `list` | the words |
//! | `property` `read` `write` `redact` | the data types of the wire |
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod ack;
mod auth;
mod code;
mod connack;
mod connect;
mod delivery;
mod disconnect;
mod error;
mod frame;
mod kind;
mod list;
mod message;
mod packet;
mod property;
mod publish;
mod read;
mod redact;
mod suback;
mod subscribe;
mod terms;
mod unsubscribe;
mod will;
mod write;

#[cfg(test)]
mod tests;

pub use ack::{Ack, AckKind};
pub use auth::Auth;
pub use code::{ConnectReturnCode, ReasonCode};
pub use connack::{Connack, ConnackProperties};
pub use connect::{Connect, ConnectProperties};
pub use delivery::{Alias, Delivery};
pub use disconnect::Disconnect;
pub use error::DecodeError;
pub use frame::{Frame, frame};
pub use kind::PacketType;
pub use list::{Filters, Items, List, ListItem, ReasonCodes, SubscriptionIds, UserProperties};
pub use message::MessageProperties;
pub use packet::{PINGREQ, PINGRESP, Packet, decode};
pub use publish::Publish;
pub use suback::{Suback, Unsuback};
pub use subscribe::{Subscribe, Subscription, SubscriptionOptions, Subscriptions};
pub use terms::{
    PacketId, PayloadFormat, Qos, RetainHandling, Sender, SubscriptionId, VARINT_MAX, Version,
};
pub use unsubscribe::Unsubscribe;
pub use will::Will;
