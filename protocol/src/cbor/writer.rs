//! The deterministic writer.

use crate::sink::{CapacityError, Sink};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Writes CBOR with the shortest heads and definite lengths. Two things remain with the caller: as many items as the
/// head of an array or map announced, and map keys in ascending bytewise order (0, 1, …, 23, 24, …, -1, -2, …, text).
#[derive(Debug)]
pub struct Writer<'s, S: Sink + ?Sized> {
    sink: &'s mut S,
}

impl<'s, S: Sink + ?Sized> Writer<'s, S> {
    /// Writes into `sink`.
    pub fn new(sink: &'s mut S) -> Self {
        Self { sink }
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> Result<(), CapacityError> {
        self.head(UNSIGNED, value)
    }

    /// An integer of either sign.
    pub fn int(&mut self, value: i64) -> Result<(), CapacityError> {
        match u64::try_from(value) {
            Ok(value) => self.head(UNSIGNED, value),
            // RFC 8949 §3.1: a negative integer n is written as -1 - n, which is the complement of its bits.
            Err(_) => self.head(NEGATIVE, (!value).unsigned_abs()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), CapacityError> {
        self.bytes_head(value.len())?;
        self.sink.put(value)
    }

    /// The head of a byte string whose `len` bytes the caller writes next, with [`raw`](Self::raw) or as CBOR.
    pub fn bytes_head(&mut self, len: usize) -> Result<(), CapacityError> {
        self.head(BYTES, len as u64)
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> Result<(), CapacityError> {
        self.head(TEXT, value.len() as u64)?;
        self.sink.put(value.as_bytes())
    }

    /// The head of an array of `count` items.
    pub fn array(&mut self, count: usize) -> Result<(), CapacityError> {
        self.head(ARRAY, count as u64)
    }

    /// The head of a map of `count` entries.
    pub fn map(&mut self, count: usize) -> Result<(), CapacityError> {
        self.head(MAP, count as u64)
    }

    /// A tag for the next item.
    pub fn tag(&mut self, number: u64) -> Result<(), CapacityError> {
        self.head(TAG, number)
    }

    /// False or true.
    pub fn bool(&mut self, value: bool) -> Result<(), CapacityError> {
        self.sink.put(&[if value { 0xf5 } else { 0xf4 }])
    }

    /// Null.
    pub fn null(&mut self) -> Result<(), CapacityError> {
        self.sink.put(&[0xf6])
    }

    /// Bytes that are CBOR already.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.sink.put(bytes)
    }

    /// The sink, for an encoder that writes one item itself.
    pub fn sink(&mut self) -> &mut S {
        self.sink
    }

    fn head(&mut self, major: u8, argument: u64) -> Result<(), CapacityError> {
        let major = major << 5;
        let wide = argument.to_be_bytes();
        let (code, width) = match argument {
            0..=23 => return self.sink.put(&[major | wide[7]]),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.sink.put(&[major | code])?;
        self.sink.put(&wide[8 - width..])
    }
}
