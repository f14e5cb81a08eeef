//! Reads the data types of MQTT (MQTT 5 §1.5) from the front of a slice.
use super::{DecodeError, PacketId, VARINT_MAX};

/// The bytes not yet read. Every read checks what is left first; none can panic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// What to say when a field ends too early.
    short: DecodeError,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            short: DecodeError::Truncated,
        }
    }

    /// A reader of a property section.
    pub(super) fn of_properties(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            short: DecodeError::PropertyTruncated,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the packet: nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(self.short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(self.short)?;
        self.rest = rest;
        Ok(head)
    }

    /// Binary data: two bytes of length, then the bytes.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// A string: binary data that is well-formed UTF-8 without U+0000 (§1.5.4). Surrogates are ill-formed UTF-8.
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text =
            core::str::from_utf8(self.binary()?).map_err(|_| DecodeError::StringIllFormed)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::StringHasNul);
        }
        Ok(text)
    }

    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, rest) = varint(self.rest)?.ok_or(self.short)?;
        self.rest = rest;
        Ok(value)
    }

    /// The bytes of a property section, and moves behind it.
    pub(super) fn properties(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.varint()?;
        let len = usize::try_from(len).map_err(|_| DecodeError::PropertiesPastEnd)?;
        self.bytes(len).map_err(|_| DecodeError::PropertiesPastEnd)
    }
}

/// A variable byte integer and what follows it; `None` when its last byte is not there yet.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, DecodeError> {
    let mut value = 0_u32;
    let mut rest = bytes;
    for shift in [0_u32, 7, 14, 21] {
        let Some((byte, tail)) = rest.split_first() else {
            return Ok(None);
        };
        rest = tail;
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            if *byte == 0 && shift != 0 {
                return Err(DecodeError::VarintNotMinimal);
            }
            debug_assert!(value <= VARINT_MAX);
            return Ok(Some((value, rest)));
        }
    }
    Err(DecodeError::VarintTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_takes_one_to_four_bytes() {
        assert_eq!(varint(&[0x00, 0xAA]), Ok(Some((0, &[0xAA][..]))));
        assert_eq!(varint(&[0x7F]), Ok(Some((127, &[][..]))));
        assert_eq!(varint(&[0x80, 0x01]), Ok(Some((128, &[][..]))));
        assert_eq!(
            varint(&[0xFF, 0xFF, 0xFF, 0x7F]),
            Ok(Some((VARINT_MAX, &[][..])))
        );
    }

    #[test]
    fn varint_waits_for_its_last_byte() {
        assert_eq!(varint(&[]), Ok(None));
        assert_eq!(varint(&[0x80, 0x80, 0x80]), Ok(None));
    }

    #[test]
    fn varint_refuses_padding_and_a_fifth_byte() {
        assert_eq!(varint(&[0x80, 0x00]), Err(DecodeError::VarintNotMinimal));
        assert_eq!(
            varint(&[0xFF, 0x80, 0x00]),
            Err(DecodeError::VarintNotMinimal)
        );
        assert_eq!(
            varint(&[0xFF, 0xFF, 0xFF, 0xFF]),
            Err(DecodeError::VarintTooLong)
        );
        assert_eq!(
            varint(&[0x80, 0x80, 0x80, 0x80, 0x01]),
            Err(DecodeError::VarintTooLong)
        );
    }

    #[test]
    fn strings_are_utf8_without_nul() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).string();
        assert_eq!(read(b"\x00\x03a\xC3\xA9"), Ok("a\u{E9}"));
        assert_eq!(read(b"\x00\x03\xEF\xBB\xBF"), Ok("\u{FEFF}"));
        assert_eq!(read(b"\x00\x01\x00"), Err(DecodeError::StringHasNul));
        // Half of a pair (U+D800), an overlong slash, a byte that never occurs.
        assert_eq!(
            read(b"\x00\x03\xED\xA0\x80"),
            Err(DecodeError::StringIllFormed)
        );
        assert_eq!(read(b"\x00\x02\xC0\xAF"), Err(DecodeError::StringIllFormed));
        assert_eq!(read(b"\x00\x01\xFF"), Err(DecodeError::StringIllFormed));
        assert_eq!(read(b"\x00\x02a"), Err(DecodeError::Truncated));
        assert_eq!(read(b"\x00"), Err(DecodeError::Truncated));
    }
}
