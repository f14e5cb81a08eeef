//! Writes the data types of MQTT (MQTT 5 §1.5), and frames a body.
use super::{PacketId, VARINT_MAX, Version};
use crate::sink::{CapacityError, Counter, Sink};

type Written = Result<(), CapacityError>;

pub(super) fn u8(sink: &mut impl Sink, value: u8) -> Written {
    sink.put(&[value])
}

pub(super) fn u16(sink: &mut impl Sink, value: u16) -> Written {
    sink.put(&value.to_be_bytes())
}

pub(super) fn u32(sink: &mut impl Sink, value: u32) -> Written {
    sink.put(&value.to_be_bytes())
}

pub(super) fn packet_id(sink: &mut impl Sink, id: PacketId) -> Written {
    u16(sink, id.get())
}

/// Binary data; a longer value than its length field can express is an error.
pub(super) fn binary(sink: &mut impl Sink, bytes: &[u8]) -> Written {
    u16(sink, u16::try_from(bytes.len()).map_err(|_| CapacityError)?)?;
    sink.put(bytes)
}

pub(super) fn string(sink: &mut impl Sink, text: &str) -> Written {
    binary(sink, text.as_bytes())
}

/// At most five bytes, put at once: a first byte (or none) and a variable byte integer.
fn varint_after(sink: &mut impl Sink, first: Option<u8>, value: u32) -> Written {
    if value > VARINT_MAX {
        return Err(CapacityError);
    }
    let mut head = heapless::Vec::<u8, 5>::new();
    let mut rest = value;
    if let Some(first) = first {
        head.put(&[first])?;
    }
    loop {
        let low = rest.to_le_bytes()[0] & 0x7F;
        rest >>= 7;
        let more = if rest == 0 { 0 } else { 0x80 };
        head.put(&[low | more])?;
        if rest == 0 {
            return sink.put(&head);
        }
    }
}

pub(super) fn varint(sink: &mut impl Sink, value: u32) -> Written {
    varint_after(sink, None, value)
}

/// What follows a fixed header. Written twice: into a [`Counter`] for the Remaining Length, then into the sink.
pub(super) trait Body {
    /// The first byte of the packet.
    fn first_byte(&self) -> u8;
    /// Writes everything behind the fixed header.
    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) -> Written;
}

/// A property section without its length.
pub(super) trait Properties {
    /// Writes the properties, ascending by identifier.
    fn write<S: Sink>(&self, sink: &mut S) -> Written;
}

fn counted(write: impl FnOnce(&mut Counter) -> Written) -> Result<u32, CapacityError> {
    let mut counter = Counter::new();
    write(&mut counter)?;
    u32::try_from(counter.total()).map_err(|_| CapacityError)
}

/// Writes a property section: its length, then the properties. Nothing at all in 3.1.1.
pub(super) fn properties<S: Sink>(
    sink: &mut S,
    version: Version,
    set: &impl Properties,
) -> Written {
    if version == Version::V311 {
        return Ok(());
    }
    varint(sink, counted(|counter| set.write(counter))?)?;
    set.write(sink)
}

/// Writes a whole packet.
pub(super) fn packet<S: Sink>(body: &impl Body, version: Version, sink: &mut S) -> Written {
    let len = counted(|counter| body.write_body(version, counter))?;
    varint_after(sink, Some(body.first_byte()), len)?;
    body.write_body(version, sink)
}

/// How many bytes [`packet`] writes; `usize::MAX` if it cannot be written at all.
pub(super) fn packet_len(body: &impl Body, version: Version) -> usize {
    let mut counter = Counter::new();
    match packet(body, version, &mut counter) {
        Ok(()) => counter.total(),
        Err(CapacityError) => usize::MAX,
    }
}

/// The public face of a [`Body`].
macro_rules! encoding {
    ($packet:ty) => {
        impl $packet {
            /// Writes the whole packet. An error means that the sink is full or that a field is longer than MQTT can
            /// express; throw away what was put.
            pub fn encode(
                &self,
                version: $crate::mqtt::Version,
                sink: &mut impl $crate::sink::Sink,
            ) -> Result<(), $crate::sink::CapacityError> {
                $crate::mqtt::write::packet(self, version, sink)
            }

            /// Exactly how many bytes [`encode`](Self::encode) writes; `usize::MAX` if no packet can hold this.
            #[must_use]
            pub fn encoded_len(&self, version: $crate::mqtt::Version) -> usize {
                $crate::mqtt::write::packet_len(self, version)
            }
        }
    };
}
pub(super) use encoding;

#[cfg(test)]
mod tests {
    use super::*;

    fn varint_bytes(value: u32) -> Result<heapless::Vec<u8, 8>, CapacityError> {
        let mut sink = heapless::Vec::new();
        varint(&mut sink, value).map(|()| sink)
    }

    #[test]
    fn varints_are_minimal() {
        assert_eq!(varint_bytes(0).unwrap(), [0x00]);
        assert_eq!(varint_bytes(127).unwrap(), [0x7F]);
        assert_eq!(varint_bytes(128).unwrap(), [0x80, 0x01]);
        assert_eq!(varint_bytes(16_383).unwrap(), [0xFF, 0x7F]);
        assert_eq!(varint_bytes(16_384).unwrap(), [0x80, 0x80, 0x01]);
        assert_eq!(varint_bytes(VARINT_MAX).unwrap(), [0xFF, 0xFF, 0xFF, 0x7F]);
        assert_eq!(varint_bytes(VARINT_MAX + 1), Err(CapacityError));
    }

    #[test]
    fn binary_data_ends_at_65535_bytes() {
        let bytes = [0; 65_536];
        assert_eq!(binary(&mut Counter::new(), &bytes[1..]), Ok(()));
        assert_eq!(binary(&mut Counter::new(), &bytes), Err(CapacityError));
    }
}
