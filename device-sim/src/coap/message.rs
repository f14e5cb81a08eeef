//! CoAP messages (RFC 7252 §3): coap-lite's codec behind a header check of our own.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType};

/// Largest datagram that is looked at (RFC 7252 §4.6).
pub const DATAGRAM_MAX: usize = 1_152;

/// Longest CoAP token, RFC 7252 §3.
const TOKEN_LEN_MAX: u8 = 8;

/// The Echo option, RFC 9175 §2.2.
const ECHO: u16 = 252;

/// What a request says.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Told apart from other messages of this endpoint.
    pub message_id: u16,
    /// Ties the answer to the request.
    pub token: [u8; 8],
    /// Path segments.
    pub path: &'a [&'a str],
    /// Content-Format of the payload.
    pub content_format: u16,
    /// Wanted Content-Format of the answer.
    pub accept: Option<u16>,
    /// The Echo that the server gave.
    pub echo: Option<&'a [u8]>,
    /// The body.
    pub payload: &'a [u8],
}

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// How it came.
    pub kind: Kind,
    /// Code: class in the upper three bits.
    pub code: u8,
    /// Message id.
    pub message_id: u16,
    /// CoAP token.
    pub token: Vec<u8>,
    /// The Echo option.
    pub echo: Option<Vec<u8>>,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Max-Age, s.
    pub max_age_s: Option<u32>,
    /// The body.
    pub payload: Vec<u8>,
}

/// Message types, RFC 7252 §3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Wants an acknowledgement.
    Confirmable,
    /// Wants none.
    NonConfirmable,
    /// Is one.
    Acknowledgement,
    /// "I know nothing of that".
    Reset,
}

/// Why a datagram is no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than a header and its token.
    #[error("shorter than its header says")]
    Short,
    /// Longer than a datagram of this profile may be.
    #[error("longer than 1152 bytes")]
    Long,
    /// Not version 1.
    #[error("not CoAP version 1")]
    Version,
    /// Token length 9 to 15.
    #[error("reserved token length")]
    TokenLength,
    /// Code 0.00 with more than a header.
    #[error("an empty message that is not empty")]
    NotEmpty,
    /// A payload marker and no payload.
    #[error("payload marker without payload")]
    MarkerWithoutPayload,
    /// An option that cannot be read.
    #[error("malformed option")]
    Option,
}

/// A POST, confirmable.
///
/// # Errors
/// When the message would be longer than a datagram.
pub fn encode(request: &Request<'_>) -> Result<Vec<u8>, MessageError> {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Confirmable);
    packet.header.code = MessageClass::Request(RequestType::Post);
    packet.header.message_id = request.message_id;
    packet.set_token(request.token.to_vec());
    for segment in request.path {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    packet.add_option(CoapOption::ContentFormat, uint(request.content_format));
    if let Some(accept) = request.accept {
        packet.add_option(CoapOption::Accept, uint(accept));
    }
    if let Some(echo) = request.echo {
        packet.add_option(CoapOption::Unknown(ECHO), echo.to_vec());
    }
    packet.payload = request.payload.to_vec();
    packet
        .to_bytes_with_limit(DATAGRAM_MAX)
        .map_err(|_| MessageError::Long)
}

/// An empty acknowledgement of a message.
#[must_use]
pub const fn acknowledge(message_id: u16) -> [u8; 4] {
    let [high, low] = message_id.to_be_bytes();
    [0x60, 0x00, high, low]
}

/// Reads a datagram.
///
/// # Errors
/// Says which rule of the format it breaks.
pub fn decode(datagram: &[u8]) -> Result<Response, MessageError> {
    check(datagram)?;
    let packet = Packet::from_bytes(datagram).map_err(|_| MessageError::Option)?;
    let kind = match packet.header.get_type() {
        MessageType::Confirmable => Kind::Confirmable,
        MessageType::NonConfirmable => Kind::NonConfirmable,
        MessageType::Acknowledgement => Kind::Acknowledgement,
        MessageType::Reset => Kind::Reset,
    };
    Ok(Response {
        kind,
        code: u8::from(packet.header.code),
        message_id: packet.header.message_id,
        token: packet.get_token().to_vec(),
        echo: packet.get_first_option(CoapOption::Unknown(ECHO)).cloned(),
        content_format: packet
            .get_first_option(CoapOption::ContentFormat)
            .and_then(|bytes| number(bytes)?.try_into().ok()),
        max_age_s: packet
            .get_first_option(CoapOption::MaxAge)
            .and_then(|bytes| number(bytes)),
        payload: packet.payload,
    })
}

/// The rules of RFC 7252 §3 that coap-lite takes lightly.
fn check(datagram: &[u8]) -> Result<(), MessageError> {
    let &[first, code, _, _, ref rest @ ..] = datagram else {
        return Err(MessageError::Short);
    };
    if datagram.len() > DATAGRAM_MAX {
        return Err(MessageError::Long);
    }
    if first >> 6 != 1 {
        return Err(MessageError::Version);
    }
    let token_length = first & 0x0f;
    if token_length > TOKEN_LEN_MAX {
        return Err(MessageError::TokenLength);
    }
    if rest.len() < usize::from(token_length) {
        return Err(MessageError::Short);
    }
    if code == 0 && datagram.len() != 4 {
        return Err(MessageError::NotEmpty);
    }
    // A marker is the last byte only if it is not the last byte of an option or of a payload; an ACE answer never ends
    // in 0xff (it would be a CBOR break), so nothing good is refused here.
    if rest.len() > usize::from(token_length) && datagram.last() == Some(&0xff) {
        return Err(MessageError::MarkerWithoutPayload);
    }
    Ok(())
}

/// RFC 7252 §3.2: as few bytes as will do, none for zero.
fn uint(value: u16) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes
        .iter()
        .copied()
        .skip_while(|&byte| byte == 0)
        .collect()
}

fn number(bytes: &[u8]) -> Option<u32> {
    (bytes.len() <= 4).then(|| {
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(echo: Option<&'a [u8]>) -> Request<'a> {
        Request {
            message_id: 0x1234,
            token: [1, 2, 3, 4, 5, 6, 7, 8],
            path: &["token"],
            content_format: 18,
            accept: None,
            echo,
            payload: &[0x80],
        }
    }

    #[test]
    fn a_request_has_the_bytes_of_the_rfc() {
        let bytes = encode(&request(None)).expect("short");
        // 48 CON TKL 8, 02 POST, id, token, b5 Uri-Path "token", 11 12 Content-Format 18, ff payload
        assert_eq!(
            bytes,
            b"\x48\x02\x12\x34\x01\x02\x03\x04\x05\x06\x07\x08\xb5token\x11\x12\xff\x80"
        );
    }

    #[test]
    fn echo_and_accept_are_options_of_their_number() {
        let echo = [9; 12];
        let bytes = encode(&Request {
            accept: Some(18),
            ..request(Some(&echo))
        })
        .expect("short");
        // delta 5 to Accept 17; delta 235 = 13 + 222 to Echo 252
        let mut end = vec![0x11, 0x12, 0x51, 0x12, 0xdc, 222];
        end.extend([9; 12]);
        end.extend([0xff, 0x80]);
        assert!(bytes.ends_with(&end), "{bytes:02x?}");
        assert_eq!(
            decode(&bytes).expect("reads back").echo.as_deref(),
            Some(&echo[..])
        );
    }

    #[test]
    fn a_body_that_does_not_fit_a_datagram_is_refused() {
        let payload = [0; DATAGRAM_MAX];
        assert_eq!(
            encode(&Request {
                payload: &payload,
                ..request(None)
            }),
            Err(MessageError::Long)
        );
    }

    #[test]
    fn malformed_datagrams_are_refused_by_rule() {
        for (datagram, error) in [
            (&b""[..], MessageError::Short),
            (b"\x60\x45\x12", MessageError::Short),
            (b"\x62\x45\x12\x34\x01", MessageError::Short),
            (b"\xa0\x45\x12\x34", MessageError::Version),
            (b"\x69\x45\x12\x34123456789", MessageError::TokenLength),
            (b"\x60\x00\x12\x34\x01", MessageError::NotEmpty),
            (b"\x60\x45\x12\x34\xff", MessageError::MarkerWithoutPayload),
            (b"\x60\x45\x12\x34\xf1", MessageError::Option),
        ] {
            assert_eq!(decode(datagram), Err(error), "{datagram:02x?}");
        }
    }

    #[test]
    fn uints_are_as_short_as_they_can_be() {
        assert_eq!(uint(0), Vec::<u8>::new());
        assert_eq!(uint(18), vec![18]);
        assert_eq!(uint(256), vec![1, 0]);
        assert_eq!(
            [0, 18, 256].map(|value| number(&uint(value))),
            [Some(0), Some(18), Some(256)]
        );
    }
}
