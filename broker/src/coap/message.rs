//! Datagrams to requests and replies to datagrams. The codec is coap-lite's `Packet`, behind a check of our own: coap-lite
//! takes wrong versions, empty messages with a body, reserved classes and a payload marker without payload.
use super::limits::{DATAGRAM_MAX, OPTIONS_MAX, PAYLOAD_MAX};
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 4;
const TOKEN_LEN_MAX: usize = 8;
const PAYLOAD_MARKER: u8 = 0xff;

/// Content-Formats that the resources speak (IANA registry).
pub mod format {
    /// `application/cose; cose-type="cose-sign1"`.
    pub const COSE_SIGN1: u16 = 18;
    /// `application/ace+cbor`.
    pub const ACE_CBOR: u16 = 19;
    /// `application/link-format`.
    pub const LINK_FORMAT: u16 = 40;
    /// `application/cbor`.
    pub const CBOR: u16 = 60;
    /// `application/cose-key-set`.
    pub const COSE_KEY_SET: u16 = 102;
}

mod option {
    pub(super) const URI_HOST: u16 = 3;
    pub(super) const URI_PORT: u16 = 7;
    pub(super) const URI_PATH: u16 = 11;
    pub(super) const CONTENT_FORMAT: u16 = 12;
    pub(super) const MAX_AGE: u16 = 14;
    pub(super) const URI_QUERY: u16 = 15;
    pub(super) const ACCEPT: u16 = 17;
    pub(super) const BLOCK2: u16 = 23;
    pub(super) const BLOCK1: u16 = 27;
    pub(super) const PROXY_URI: u16 = 35;
    pub(super) const PROXY_SCHEME: u16 = 39;
    pub(super) const SIZE1: u16 = 60;
    pub(super) const ECHO: u16 = 252;
}

/// An option that the endpoint understands: number, length range, whether it may repeat (RFC 7252 §5.10, RFC 7959
/// §2.1, RFC 9175 §2.2.1). Every other critical option is refused and every other elective one ignored.
const UNDERSTOOD: &[(u16, core::ops::RangeInclusive<usize>, bool)] = &[
    (option::URI_HOST, 1..=255, false),
    (option::URI_PORT, 0..=2, false),
    (option::URI_PATH, 0..=255, true),
    (option::CONTENT_FORMAT, 0..=2, false),
    (option::URI_QUERY, 0..=255, true),
    (option::ACCEPT, 0..=2, false),
    (option::BLOCK2, 0..=3, false),
    (option::BLOCK1, 0..=3, false),
    (option::PROXY_URI, 1..=1034, false),
    (option::PROXY_SCHEME, 1..=255, false),
    (option::ECHO, 1..=40, false),
];

/// The rule of RFC 7252 §3 that a datagram breaks. All but the first two are answered with a Reset if the message was
/// confirmable; nothing else ever is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Not even a header.
    #[error("shorter than a header")]
    Short,
    /// Another version of CoAP: ignored, whatever follows.
    #[error("version is not 1")]
    Version,
    /// A token length of 9 to 15, or one that runs past the end.
    #[error("token length is reserved or runs past the end")]
    TokenLength,
    /// AnswerCode 0.00 with a token, options or a payload.
    #[error("an empty message is not empty")]
    EmptyWithContent,
    /// A code of class 1, 6 or 7.
    #[error("code {0:#04x} is of a reserved class")]
    ReservedClass(u8),
    /// An option's delta or length is 15, runs past the end, or the number passes 65535.
    #[error("option header is malformed")]
    OptionHeader,
    /// An option's value runs past the end.
    #[error("option value runs past the end")]
    OptionValue,
    /// More than [`OPTIONS_MAX`].
    #[error("too many options")]
    OptionCount,
    /// A payload marker and nothing behind it.
    #[error("payload marker without payload")]
    PayloadEmpty,
}

/// Who sent this message for what, from the first four bytes and the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// How the message layer treats it.
    pub kind: Kind,
    /// `c.dd` as one byte.
    pub code: u8,
    /// Pairs a message with its acknowledgement or reset.
    pub message_id: u16,
    token: [u8; TOKEN_LEN_MAX],
    token_len: u8,
}

/// The type of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Wants an acknowledgement.
    Confirmable,
    /// Wants none.
    NonConfirmable,
    /// Is one.
    Acknowledgement,
    /// Rejects a message.
    Reset,
}

impl Header {
    /// Reads version, type, token length, code, message id and token.
    ///
    /// # Errors
    /// Names the first rule broken. [`reset`] tells what to answer.
    pub fn decode(datagram: &[u8]) -> Result<Self, FormatError> {
        let &[first, code, id_high, id_low, ref rest @ ..] = datagram else {
            return Err(FormatError::Short);
        };
        if first >> 6 != VERSION {
            return Err(FormatError::Version);
        }
        let token_len = first & 0x0f;
        let token_bytes = rest
            .get(..usize::from(token_len))
            .filter(|bytes| bytes.len() <= TOKEN_LEN_MAX)
            .ok_or(FormatError::TokenLength)?;
        let mut token = [0; TOKEN_LEN_MAX];
        token[..token_bytes.len()].copy_from_slice(token_bytes);
        match code >> 5 {
            0 if code == 0 && datagram.len() > HEADER_LEN => {
                return Err(FormatError::EmptyWithContent);
            }
            1 | 6 | 7 => return Err(FormatError::ReservedClass(code)),
            _ => {}
        }
        Ok(Self {
            kind: Kind::of(first),
            code,
            message_id: u16::from_be_bytes([id_high, id_low]),
            token,
            token_len,
        })
    }

    /// The token, to be repeated in the answer.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token[..usize::from(self.token_len)]
    }

    /// Whether the code is a method: 0.01 to 0.31.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.code != 0 && self.code >> 5 == 0
    }
}

impl Kind {
    fn of(first: u8) -> Self {
        match (first >> 4) & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// The Reset that rejects this datagram, if it was a confirmable message of our version; everything else is rejected
/// in silence (RFC 7252 §4.2, §4.3).
#[must_use]
pub fn reset(datagram: &[u8]) -> Option<Vec<u8>> {
    match *datagram {
        [first, _, id_high, id_low, ..]
            if first >> 6 == VERSION && Kind::of(first) == Kind::Confirmable =>
        {
            Some(vec![0x70, 0, id_high, id_low])
        }
        _ => None,
    }
}

/// A block option (RFC 7959 §2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    /// Which block.
    pub number: u32,
    /// Whether more follow.
    pub more: bool,
    /// log2 of the block size, less 4; 7 is reserved.
    pub size_exponent: u8,
}

impl Block {
    fn of(value: u32) -> Self {
        Self {
            number: value >> 4,
            more: value & 8 != 0,
            size_exponent: (value & 7) as u8,
        }
    }

    /// Bytes in a block.
    #[must_use]
    pub fn size(self) -> usize {
        16 << self.size_exponent.min(6)
    }
}

/// A well-formed request, reduced to what this endpoint understands. Elective options that it does not understand, or
/// that have a wrong length or repeat, are gone; a critical one is named in `bad_option`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Type, method, message id, token.
    pub header: Header,
    /// The path's segments.
    pub path: Vec<Vec<u8>>,
    /// The query's parts.
    pub query: Vec<Vec<u8>>,
    /// What the payload is.
    pub content_format: Option<u16>,
    /// What the answer shall be.
    pub accept: Option<u16>,
    /// Upload in blocks.
    pub block1: Option<Block>,
    /// Download in blocks.
    pub block2: Option<Block>,
    /// The Echo value that the peer returns.
    pub echo: Option<Vec<u8>>,
    /// Whether the peer takes us for a proxy.
    pub wants_proxy: bool,
    /// The first critical option that is unknown, has a wrong length or repeats.
    pub bad_option: Option<u16>,
    /// The body.
    pub payload: Vec<u8>,
}

impl Request {
    /// Reads a whole request.
    ///
    /// # Errors
    /// Names the first rule broken. [`reset`] tells what to answer.
    pub fn decode(header: Header, datagram: &[u8]) -> Result<Self, FormatError> {
        check_body(datagram, HEADER_LEN + header.token().len())?;
        // Our own walk has accepted every option header, so coap-lite finds nothing to refuse.
        let packet = Packet::from_bytes(datagram).map_err(|_| FormatError::OptionHeader)?;
        let mut request = Self {
            header,
            path: Vec::new(),
            query: Vec::new(),
            content_format: None,
            accept: None,
            block1: None,
            block2: None,
            echo: None,
            wants_proxy: false,
            bad_option: None,
            payload: Vec::new(),
        };
        for (&number, values) in packet.options() {
            for (occurrence, value) in values.iter().enumerate() {
                request.take(number, occurrence, value);
            }
        }
        request.payload = packet.payload;
        Ok(request)
    }

    /// A wrong length and a forbidden repetition make an option an unknown one (RFC 7252 §5.4.3, §5.4.5).
    fn take(&mut self, number: u16, occurrence: usize, value: &[u8]) {
        let understood = UNDERSTOOD.iter().any(|(known, lengths, repeats)| {
            *known == number && lengths.contains(&value.len()) && (*repeats || occurrence == 0)
        });
        if !understood {
            if number & 1 == 1 && self.bad_option.is_none() {
                self.bad_option = Some(number);
            }
            return;
        }
        match number {
            option::URI_PATH => self.path.push(value.to_vec()),
            option::URI_QUERY => self.query.push(value.to_vec()),
            option::CONTENT_FORMAT => self.content_format = Some(uint(value) as u16),
            option::ACCEPT => self.accept = Some(uint(value) as u16),
            option::BLOCK1 => self.block1 = Some(Block::of(uint(value))),
            option::BLOCK2 => self.block2 = Some(Block::of(uint(value))),
            option::PROXY_URI | option::PROXY_SCHEME => self.wants_proxy = true,
            option::ECHO => self.echo = Some(value.to_vec()),
            // Uri-Host and Uri-Port: there is one host here, under whatever name.
            _ => {}
        }
    }
}

/// Walks options and payload marker without allocating: bounded work before the codec is trusted with the bytes.
fn check_body(datagram: &[u8], start: usize) -> Result<(), FormatError> {
    let mut at = start;
    let mut number = 0_u16;
    let mut count = 0;
    while let Some(&head) = datagram.get(at) {
        at += 1;
        if head == PAYLOAD_MARKER {
            return match datagram.len() - at {
                0 => Err(FormatError::PayloadEmpty),
                _ => Ok(()),
            };
        }
        count += 1;
        if count > OPTIONS_MAX {
            return Err(FormatError::OptionCount);
        }
        let delta = extended(head >> 4, datagram, &mut at)?;
        let length = extended(head & 0x0f, datagram, &mut at)?;
        number = u16::try_from(delta)
            .ok()
            .and_then(|delta| number.checked_add(delta))
            .ok_or(FormatError::OptionHeader)?;
        at += length as usize;
        if at > datagram.len() {
            return Err(FormatError::OptionValue);
        }
    }
    Ok(())
}

fn extended(nibble: u8, datagram: &[u8], at: &mut usize) -> Result<u32, FormatError> {
    let rest = datagram.get(*at..).unwrap_or_default();
    let (value, used) = match (nibble, rest) {
        (0..=12, _) => (u32::from(nibble), 0),
        (13, [byte, ..]) => (u32::from(*byte) + 13, 1),
        (14, [high, low, ..]) => (u32::from(u16::from_be_bytes([*high, *low])) + 269, 2),
        _ => return Err(FormatError::OptionHeader),
    };
    *at += used;
    Ok(value)
}

/// An option's unsigned integer; leading zeros are taken (RFC 7252 §3.2).
fn uint(value: &[u8]) -> u32 {
    value
        .iter()
        .fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

/// Answer codes, in the order of their numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum AnswerCode {
    /// 2.01
    Created = 0x41,
    /// 2.05
    Content = 0x45,
    /// 4.00
    BadRequest = 0x80,
    /// 4.01
    Unauthorized = 0x81,
    /// 4.02
    BadOption = 0x82,
    /// 4.04
    NotFound = 0x84,
    /// 4.05
    MethodNotAllowed = 0x85,
    /// 4.06
    NotAcceptable = 0x86,
    /// 4.13
    TooLarge = 0x8d,
    /// 4.15
    UnsupportedFormat = 0x8f,
    /// 4.29 (RFC 8516)
    TooManyRequests = 0x9d,
    /// 5.00
    InternalError = 0xa0,
    /// 5.03
    Unavailable = 0xa3,
    /// 5.05
    ProxyingNotSupported = 0xa5,
}

/// An answer, before it is tied to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The code.
    pub code: AnswerCode,
    /// What the payload is.
    pub content_format: Option<u16>,
    /// For how long a cache may keep it, or when to come back; without it, 60 s.
    pub max_age: Option<u32>,
    /// A challenge.
    pub echo: Option<[u8; super::echo::ECHO_LEN]>,
    /// Whether to name the largest body ([`PAYLOAD_MAX`]) as Size1.
    pub names_size: bool,
    /// The body.
    pub payload: Vec<u8>,
}

impl Reply {
    /// A code and nothing else.
    #[must_use]
    pub fn code(code: AnswerCode) -> Self {
        Self {
            code,
            content_format: None,
            max_age: None,
            echo: None,
            names_size: code == AnswerCode::TooLarge,
            payload: Vec::new(),
        }
    }

    /// A body of this format.
    #[must_use]
    pub fn body(code: AnswerCode, content_format: u16, payload: Vec<u8>) -> Self {
        Self {
            content_format: Some(content_format),
            payload,
            ..Self::code(code)
        }
    }

    /// The same, with a lifetime in seconds.
    #[must_use]
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The datagram that answers this request: piggybacked on the acknowledgement of a confirmable one, else
    /// non-confirmable. Such an answer repeats the request's message id: ids count per sender, so the peer's care not
    /// to reuse one (RFC 7252 §4.4) keeps ours unique without a counter, and its duplicate gets ours.
    #[must_use]
    pub fn encode(&self, header: &Header) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header.set_version(VERSION);
        packet.header.set_type(match header.kind {
            Kind::Confirmable => MessageType::Acknowledgement,
            _ => MessageType::NonConfirmable,
        });
        packet.header.code = MessageClass::from(self.code as u8);
        packet.header.message_id = header.message_id;
        packet.set_token(header.token().to_vec());
        let numbers = [
            (option::CONTENT_FORMAT, self.content_format.map(u32::from)),
            (option::MAX_AGE, self.max_age),
            (option::SIZE1, self.names_size.then_some(PAYLOAD_MAX as u32)),
        ];
        for (number, value) in numbers {
            if let Some(value) = value {
                packet.add_option(CoapOption::from(number), minimal(value));
            }
        }
        if let Some(echo) = self.echo {
            packet.add_option(CoapOption::from(option::ECHO), echo.to_vec());
        }
        packet.payload.clone_from(&self.payload);
        // Every answer is far below the limit; one that is not must not fall silent.
        packet
            .to_bytes_with_limit(DATAGRAM_MAX)
            .unwrap_or_else(|_| Self::code(AnswerCode::InternalError).encode(header))
    }
}

fn minimal(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

#[cfg(test)]
mod tests;
