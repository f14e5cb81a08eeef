//! Random, mutated and truncated bytes do no harm: every outcome is a packet or an error, a packet can be used without
//! surprise, and it is the same packet after it went over the wire again.
use super::build::parts;
use super::*;
use proptest::prelude::*;

/// Tries the bytes as every sender in every version.
fn try_everywhere(bytes: &[u8]) {
    let Ok(Some(frame)) = frame(bytes, u32::MAX) else {
        return;
    };
    for sender in [Sender::Client, Sender::Server] {
        for version in [Version::V311, Version::V5] {
            match decode(&frame, sender, version) {
                Ok(packet) => use_up(&packet, sender, version),
                Err(error) => assert!(error.reason_code().is_error()),
            }
        }
    }
}

fn use_up(packet: &Packet<'_>, sender: Sender, version: Version) {
    // Walks every list.
    let _ = std::format!("{packet:?}");
    let again = encoded(packet, version);
    assert_eq!(read(&again, sender, version).as_ref(), Ok(packet));
}

/// The bytes with a Remaining Length that fits them: otherwise nearly all damage ends in framing.
fn reframed(first: u8, body: &[u8]) -> Vec<u8> {
    packet(first, &[body])
}

/// A body of a valid packet, with its first byte.
fn split(bytes: &[u8]) -> (u8, Vec<u8>) {
    let frame = frame(bytes, u32::MAX).unwrap().unwrap();
    (frame.header(), frame.body().into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        try_everywhere(&bytes);
    }

    #[test]
    fn random_bodies(first in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..80)) {
        try_everywhere(&reframed(first, &body));
    }

    /// Small numbers look like lengths and identifiers: they get deeper.
    #[test]
    fn random_small_bodies(
        first in prop::sample::select(&[0x10_u8, 0x20, 0x30, 0x32, 0x3D, 0x40, 0x62, 0x82, 0x90, 0xA2, 0xB0, 0xE0, 0xF0][..]),
        body in prop::collection::vec(0_u8..0x2C, 0..40),
    ) {
        try_everywhere(&reframed(first, &body));
    }

    #[test]
    fn truncated_packets(parts in parts()) {
        let (first, body) = split(&parts.with_packet(|sent| encoded(&sent, parts.version)));
        for len in 0..body.len().min(200) {
            try_everywhere(&reframed(first, &body[..len]));
        }
    }

    #[test]
    fn mutated_packets(
        parts in parts(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let (first, mut body) = split(&parts.with_packet(|sent| encoded(&sent, parts.version)));
        for (at, value, how) in damage {
            let at = at.index(body.len() + 1);
            match how {
                0 => body.insert(at, value),
                1 if at < body.len() => { body.remove(at); }
                2 if at < body.len() => body[at] ^= 1 << (value % 8),
                _ if at < body.len() => body[at] = value,
                _ => {}
            }
            try_everywhere(&reframed(first, &body));
        }
    }
}

#[test]
fn every_error_names_its_rule_and_reports_a_failure() {
    use crate::topic::{FilterError, NameError};
    for error in [
        DecodeError::Truncated,
        DecodeError::PacketTooLarge,
        DecodeError::PublishTopic(NameError::Empty),
        DecodeError::WillTopic(NameError::Wildcard),
        DecodeError::ResponseTopic(NameError::HasNul),
        DecodeError::Filter(FilterError::HashNotLast),
    ] {
        assert!(std::format!("{error}").len() > 10);
        assert!(error.reason_code().is_error());
    }
    assert_eq!(
        DecodeError::Truncated.reason_code(),
        ReasonCode::MalformedPacket
    );
    assert_eq!(
        DecodeError::PropertyRepeated.reason_code(),
        ReasonCode::ProtocolError
    );
    assert_eq!(
        DecodeError::PacketTooLarge.reason_code(),
        ReasonCode::PacketTooLarge
    );
}
