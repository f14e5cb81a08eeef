//! The codec as a whole. Each rule of the wire has a case that breaks it and names the exact error.
//!
//! | file | what it shows |
//! |---|---|
//! | `wire_cases` | bytes that independent codecs were tried on: accepted or refused as they must be |
//! | `connection` | CONNECT, CONNACK, DISCONNECT, AUTH, PINGREQ and PINGRESP |
//! | `messages` | PUBLISH and its acknowledgements, deliveries |
//! | `subscriptions` | SUBSCRIBE, UNSUBSCRIBE and their answers |
//! | `properties` | which packet carries which property, and with which values |
//! | `round_trip` | random valid packets come back as they went |
//! | `hostile` | random, mutated and truncated bytes do no harm |
mod build;
mod connection;
mod hostile;
mod messages;
mod properties;
mod round_trip;
mod subscriptions;
mod wire_cases;

use super::*;
use std::vec::Vec;

/// A packet with this first byte and these pieces behind the Remaining Length.
fn packet(first: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let body = pieces.concat();
    let mut bytes = std::vec![first];
    bytes.extend(varint_bytes(body.len()));
    bytes.extend(body);
    bytes
}

/// A property section: length and pieces.
fn section(pieces: &[&[u8]]) -> Vec<u8> {
    let body = pieces.concat();
    let mut bytes = varint_bytes(body.len());
    bytes.extend(body);
    bytes
}

/// A string or binary data: length and bytes.
fn text(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

/// Written anew rather than taken from the codec: one cannot confirm the other's mistake.
fn varint_bytes(value: usize) -> Vec<u8> {
    let low = u8::try_from(value % 128).unwrap();
    if value < 128 {
        return std::vec![low];
    }
    [&[low | 0x80][..], &varint_bytes(value / 128)].concat()
}

/// Decodes exactly one packet.
fn read(bytes: &[u8], sender: Sender, version: Version) -> Result<Packet<'_>, DecodeError> {
    let frame = frame(bytes, u32::MAX)?.expect("the whole packet is there");
    assert_eq!(frame.raw(), bytes);
    decode(&frame, sender, version)
}

fn from_client(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    read(bytes, Sender::Client, Version::V5)
}

fn from_server(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    read(bytes, Sender::Server, Version::V5)
}

fn old_client(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    read(bytes, Sender::Client, Version::V311)
}

fn old_server(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    read(bytes, Sender::Server, Version::V311)
}

fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut sink = heapless::Vec::<u8, 4096>::new();
    packet.encode(version, &mut sink).unwrap();
    assert_eq!(packet.encoded_len(version), sink.len());
    Vec::from(sink.as_slice())
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}
