//! Identifiers: names of devices, services, groups and brokers, and key ids.

use core::fmt;
use core::str::FromStr;

/// Longest [`Id`], in bytes (SPEC.md §2; one MQTT topic level, one CoAP path segment).
pub const ID_LEN_MAX: usize = 64;

/// Length of a [`KeyId`]: the first bytes of a COSE key thumbprint.
pub const KEY_ID_LEN: usize = 8;

/// The name of a device, service, group or broker: 1 to 64 of `A-Z a-z 0-9 . _ - :`, the first a letter or digit.
///
/// Every such name is one topic level and needs no escaping in JSON, in a URI path or in a shell.
///
/// ```
/// use keygate_protocol::ident::{Id, IdError};
///
/// assert_eq!(Id::new("dev-000001").map(|id| id.as_str()), Ok("dev-000001"));
/// assert_eq!(Id::new("a/b"), Err(IdError::BadCharacter));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Id<'a>(&'a str);

impl<'a> Id<'a> {
    /// Checks the rule above.
    pub fn new(text: &'a str) -> Result<Self, IdError> {
        let [first, rest @ ..] = text.as_bytes() else {
            return Err(IdError::Empty);
        };
        if text.len() > ID_LEN_MAX {
            return Err(IdError::TooLong);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(IdError::BadStart);
        }
        let allowed =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
        if !rest.iter().all(allowed) {
            return Err(IdError::BadCharacter);
        }
        Ok(Self(text))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> TryFrom<&'a str> for Id<'a> {
    type Error = IdError;

    fn try_from(text: &'a str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

/// Why a text is not an [`Id`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdError {
    /// A character that is none of `A-Z a-z 0-9 . _ - :`.
    BadCharacter,
    /// The first character is neither letter nor digit.
    BadStart,
    /// No character at all.
    Empty,
    /// More than [`ID_LEN_MAX`] bytes.
    TooLong,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadCharacter => "an id holds only letters, digits and . _ - :",
            Self::BadStart => "an id starts with a letter or digit",
            Self::Empty => "an id has at least one character",
            Self::TooLong => "an id has at most 64 characters",
        })
    }
}

impl core::error::Error for IdError {}

/// Names a key: the first 8 bytes of its COSE key thumbprint (RFC 9679). Written as 16 lower-case hex digits.
///
/// A key id only chooses among keys that purpose and issuer already allow; it proves nothing.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; KEY_ID_LEN]);

impl KeyId {
    /// A key id as it stands on the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// A key id from bytes of unknown length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyIdError> {
        bytes.try_into().map(Self).map_err(|_| KeyIdError)
    }

    /// The first bytes of a thumbprint.
    #[must_use]
    pub fn of_thumbprint(thumbprint: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *thumbprint;
        Self([a, b, c, d, e, f, g, h])
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    /// Takes exactly what `Display` writes: 16 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let digits: &[u8; 2 * KEY_ID_LEN] = text.as_bytes().try_into().map_err(|_| KeyIdError)?;
        let mut bytes = [0; KEY_ID_LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(KeyIdError),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(bytes))
    }
}

/// Not a key id: 8 bytes, or 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyIdError;

impl fmt::Display for KeyIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key id is 8 bytes, written as 16 lower-case hex digits")
    }
}

impl core::error::Error for KeyIdError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn id_takes_every_allowed_character_up_to_64() {
        assert!(Id::new("0").is_ok());
        assert!(Id::new("A.b_c-d:9").is_ok());
        assert!(Id::new(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn id_refuses_by_rule() {
        assert_eq!(Id::new(""), Err(IdError::Empty));
        assert_eq!(Id::new(&"x".repeat(65)), Err(IdError::TooLong));
        for start in ["-a", ".", "_x", ":x", "$SYS", "+", "#", "é"] {
            assert_eq!(Id::new(start), Err(IdError::BadStart), "{start}");
        }
        for inside in ["a/b", "a b", "a+", "a#", "aé", "a\0", "a{b}"] {
            assert_eq!(Id::new(inside), Err(IdError::BadCharacter), "{inside}");
        }
    }

    #[test]
    fn key_id_text_round_trips_and_is_strict() {
        let id = KeyId::from_bytes([0x86, 0x6e, 0xef, 0xbd, 0x67, 0x18, 0xc8, 0x84]);
        assert_eq!(id.to_string(), "866eefbd6718c884");
        assert_eq!("866eefbd6718c884".parse(), Ok(id));
        for bad in [
            "",
            "866eefbd6718c88",
            "866EEFBD6718C884",
            "866eefbd6718c8845",
            "866eefbd6718c88g",
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(KeyIdError), "{bad}");
        }
        assert_eq!(KeyId::from_slice(&[0; 7]), Err(KeyIdError));
    }
}
