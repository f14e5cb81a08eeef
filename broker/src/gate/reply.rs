//! Every packet that the gate sends, in one place.
use crate::authn::Refusal;
use crate::hub::wire::put;
use crate::limits::Limits;
use keygate_protocol::mqtt::{
    Auth, Connack, Connect, Disconnect, PacketId, PacketType, ReasonCode, Sender, Suback, Unsuback,
    Version,
};

/// What CONNACK says of the session that it opens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opened<'a> {
    /// Whether the client finds the session that it left.
    pub(crate) session_present: bool,
    /// The session expiry, if it is not what the client asked for.
    pub(crate) session_expiry_s_capped: Option<u32>,
    /// The keep-alive, if it is not what the client asked for.
    pub(crate) keep_alive_s: Option<u16>,
    /// The client id that takes the place of an empty one.
    pub(crate) assigned_client_id: Option<&'a str>,
    /// The broker's own proof.
    pub(crate) proof: Option<&'a [u8]>,
}

/// The session is open. Says what holds for it, as far as that is not what every client expects (MQTT 5 §3.2.2.3):
/// QoS 2, retained messages, wildcards, subscription identifiers and shared subscriptions are there and need no word.
pub(crate) fn accept(
    connect: &Connect<'_>,
    opened: &Opened<'_>,
    limits: &Limits,
    out: &mut Vec<u8>,
) {
    let connack = accepting(connect, opened, limits);
    put(out, |wire| connack.encode(connect.version, wire));
}

/// Whether the CONNACK that opens the session is one that the client takes (MQTT 5 §3.1.2.11.4).
pub(crate) fn fits(connect: &Connect<'_>, opened: &Opened<'_>, limits: &Limits) -> bool {
    let connack = accepting(connect, opened, limits);
    takes(connect, connack.encoded_len(connect.version))
}

/// Whether the client takes a packet of so many bytes.
pub(super) fn takes(connect: &Connect<'_>, len: usize) -> bool {
    let max = connect.properties.packet_size_max;
    max.is_none_or(|max| u32::try_from(len).is_ok_and(|len| len <= max))
}

/// A CONNACK that refuses: nothing smaller answers a CONNECT.
pub(super) const REFUSAL_LEN: usize = 5;

fn accepting<'a>(connect: &Connect<'a>, opened: &Opened<'a>, limits: &Limits) -> Connack<'a> {
    let mut connack = Connack::new(opened.session_present, ReasonCode::Success);
    let properties = &mut connack.properties;
    properties.auth_method = connect.properties.auth_method;
    properties.auth_data = opened.proof;
    properties.session_expiry_s = opened.session_expiry_s_capped;
    properties.receive_max = limits.receive_max;
    properties.packet_size_max = Some(limits.packet_bytes);
    properties.assigned_client_id = opened.assigned_client_id;
    properties.topic_alias_max = limits.topic_aliases;
    properties.keep_alive_s = opened.keep_alive_s;
    connack
}

/// The connection is refused with this code, or with its 3.1.1 equivalent. Not every code of a broken rule exists in
/// CONNACK (0x94 does not, MQTT 5 §3.2.2.2): the client hears of a protocol error then.
pub(crate) fn refuse(version: Version, code: ReasonCode, out: &mut Vec<u8>) {
    let code = match code.is_allowed(PacketType::Connack, Sender::Server) {
        true => code,
        false => ReasonCode::ProtocolError,
    };
    put(out, |wire| Connack::new(false, code).encode(version, wire));
}

/// The login is refused. No more than the code: why is for the audit log.
pub(super) fn refuse_login(version: Version, refusal: &Refusal, out: &mut Vec<u8>) {
    refuse(version, refusal.code, out);
}

pub(super) fn auth(code: ReasonCode, method: &str, data: Option<&[u8]>, out: &mut Vec<u8>) {
    let mut auth = Auth::new(code, method);
    auth.data = data;
    put(out, |wire| auth.encode(wire));
}

/// Tells an MQTT 5 client why its session ends.
pub(crate) fn disconnect(code: ReasonCode, out: &mut Vec<u8>) {
    put(out, |wire| Disconnect::new(code).encode(Version::V5, wire));
}

pub(super) fn suback(
    version: Version,
    packet_id: PacketId,
    codes: &[ReasonCode],
    out: &mut Vec<u8>,
) {
    put(out, |wire| {
        Suback::new(packet_id, codes).encode(version, wire)
    });
}

pub(super) fn unsuback(
    version: Version,
    packet_id: PacketId,
    codes: &[ReasonCode],
    out: &mut Vec<u8>,
) {
    put(out, |wire| {
        Unsuback::new(packet_id, codes).encode(version, wire)
    });
}

pub(super) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0x00]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connack_is_held_against_what_the_client_takes() {
        let limits = Limits::default();
        let opened = Opened::default();
        let mut connect = Connect::new(Version::V5, "dev-1");
        assert!(fits(&connect, &opened, &limits));
        let mut out = Vec::new();
        accept(&connect, &opened, &limits, &mut out);
        let len = u32::try_from(out.len()).unwrap();
        connect.properties.packet_size_max = Some(len);
        assert!(fits(&connect, &opened, &limits));
        connect.properties.packet_size_max = Some(len - 1);
        assert!(!fits(&connect, &opened, &limits));
    }

    #[test]
    fn a_refusal_has_the_length_that_is_counted_with() {
        let mut out = Vec::new();
        refuse(Version::V5, ReasonCode::PacketTooLarge, &mut out);
        assert_eq!(out, [0x20, 3, 0, 0x95, 0]);
        assert_eq!(out.len(), REFUSAL_LEN);
    }
}
