//! Cuts one packet from the front of a stream (MQTT 5 §2.1).
use super::{DecodeError, PacketType, read};

/// One whole packet: a valid first byte, a valid Remaining Length, and that many bytes. Only [`frame`] makes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    packet_type: PacketType,
    header: u8,
    body: &'a [u8],
    raw: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The type of the packet.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        self.packet_type
    }

    /// The first byte.
    #[must_use]
    pub fn header(&self) -> u8 {
        self.header
    }

    /// What follows the fixed header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The whole packet, as it came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Length of the whole packet: how many bytes to take off the stream.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a packet has at least two bytes"
    )]
    pub fn len(&self) -> usize {
        self.raw.len()
    }
}

/// Finds the packet at the front of `bytes`; `None` when more bytes are needed.
///
/// Fails as soon as the bytes at hand show a violation: a wrong first byte before anything else is read, a packet
/// larger than `size_max` (the whole packet, as in Maximum Packet Size) before its body arrives. So nobody buffers what
/// will be refused, and a buffer of `size_max` bytes always suffices.
///
/// ```
/// use keygate_protocol::mqtt::{DecodeError, PacketType, frame};
///
/// assert_eq!(frame(&[0xC0], 100), Ok(None));
/// let ping = frame(&[0xC0, 0x00, 0x30], 100)?.unwrap();
/// assert_eq!((ping.packet_type(), ping.len()), (PacketType::Pingreq, 2));
/// // 1,000 bytes announced, 100 allowed: refused at the third byte.
/// assert_eq!(frame(&[0x30, 0xE8, 0x07], 100), Err(DecodeError::PacketTooLarge));
/// # Ok::<(), DecodeError>(())
/// ```
pub fn frame(bytes: &[u8], size_max: u32) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((&header, after_first)) = bytes.split_first() else {
        return Ok(None);
    };
    let packet_type = PacketType::of_first_byte(header)?;
    let Some((body_len, after_header)) = read::varint(after_first)? else {
        return Ok(None);
    };
    if body_len != 0 && packet_type.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    let header_len = bytes.len().saturating_sub(after_header.len());
    let body_len = usize::try_from(body_len).map_err(|_| DecodeError::PacketTooLarge)?;
    let len = header_len.saturating_add(body_len);
    if u32::try_from(len).is_ok_and(|len| len <= size_max) {
        let raw = bytes.get(..len);
        let body = after_header.get(..body_len);
        return Ok(raw.zip(body).map(|(raw, body)| Frame {
            packet_type,
            header,
            body,
            raw,
        }));
    }
    Err(DecodeError::PacketTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_of_an_empty_stream() {
        assert_eq!(frame(&[], 0), Ok(None));
    }

    #[test]
    fn the_first_byte_is_judged_alone() {
        assert_eq!(frame(&[0x00], 100), Err(DecodeError::PacketTypeReserved));
        assert_eq!(frame(&[0x11], 100), Err(DecodeError::HeaderFlags));
        assert_eq!(frame(&[0x36], 100), Err(DecodeError::PublishQos3));
        assert_eq!(frame(&[0x38], 100), Err(DecodeError::PublishDupQos0));
        assert_eq!(frame(&[0x10], 100), Ok(None));
    }

    #[test]
    fn the_remaining_length_is_judged_as_it_comes() {
        assert_eq!(frame(&[0x30, 0xFF, 0xFF], 100), Ok(None));
        assert_eq!(
            frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], u32::MAX),
            Err(DecodeError::VarintTooLong)
        );
        assert_eq!(
            frame(&[0x30, 0x80, 0x00], 100),
            Err(DecodeError::VarintNotMinimal)
        );
        assert_eq!(frame(&[0xC0, 0x01], 100), Err(DecodeError::TrailingBytes));
        assert_eq!(frame(&[0xD0, 0x01], 100), Err(DecodeError::TrailingBytes));
    }

    #[test]
    fn the_limit_counts_the_whole_packet_and_applies_before_the_body() {
        assert_eq!(frame(&[0x40, 0x02], 3), Err(DecodeError::PacketTooLarge));
        assert_eq!(frame(&[0x40, 0x02], 4), Ok(None));
        assert_eq!(
            frame(&[0x40, 0x02, 0x00, 0x01], 4)
                .unwrap()
                .map(|frame| frame.len()),
            Some(4)
        );
        assert_eq!(
            frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 268_435_459),
            Err(DecodeError::PacketTooLarge)
        );
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], u32::MAX), Ok(None));
    }

    #[test]
    fn a_frame_ends_where_the_next_begins() {
        let found = frame(&[0x40, 0x02, 0x00, 0x01, 0xC0, 0x00], 100)
            .unwrap()
            .unwrap();
        assert_eq!(found.packet_type(), PacketType::Puback);
        assert_eq!(found.header(), 0x40);
        assert_eq!(found.body(), [0x00, 0x01]);
        assert_eq!(found.raw(), [0x40, 0x02, 0x00, 0x01]);
    }
}
