//! Map keys, one at a time, with the rule that their order must keep.

use super::{CborError, Reader};

/// Most entries of a map in any order: each key is compared with all before it. ACE knows 19 parameters in all
/// (RFC 9200 §8.10), a COSE header or key far fewer.
pub const MAP_ENTRIES_MAX: usize = 24;

/// A map key: every map that we read has integer keys, text ones or both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label<'a> {
    /// An integer key.
    Int(i64),
    /// A text key.
    Text(&'a str),
}

/// A map that is being read: ask for a key, read its value from the same reader, ask for the next.
///
/// ```
/// use keygate_protocol::cbor::{CborError, Label, Reader};
///
/// let mut reader = Reader::new(b"\xa2\x01\x18\x2a\x20\xf5"); // {1: 42, -1: true}
/// let mut map = reader.map()?;
/// while let Some(label) = map.next_label(&mut reader)? {
///     match label {
///         Label::Int(1) => assert_eq!(reader.uint()?, 42),
///         Label::Int(-1) => assert!(reader.bool()?),
///         _ => reader.skip()?,
///     }
/// }
/// reader.finish()?;
/// # Ok::<(), CborError>(())
/// ```
#[derive(Debug)]
pub struct Map<'a> {
    left: usize,
    order: Order<'a>,
}

#[derive(Debug)]
pub(super) enum Order<'a> {
    /// The encoding of the last key: the next one must be greater.
    Ascending(&'a [u8]),
    /// The encodings of all keys so far: the next one must differ.
    Any(heapless::Vec<&'a [u8], MAP_ENTRIES_MAX>),
}

impl<'a> Map<'a> {
    pub(super) fn new(count: usize, order: Order<'a>) -> Self {
        Self { left: count, order }
    }

    /// Entries whose key was not read yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next key; its value must be read from `reader` before the next call.
    pub fn next_label(&mut self, reader: &mut Reader<'a>) -> Result<Option<Label<'a>>, CborError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let (label, encoded) = reader.label()?;
        match &mut self.order {
            Order::Ascending(last) if encoded == *last => return Err(CborError::DuplicateKey),
            Order::Ascending(last) if encoded < *last => return Err(CborError::UnsortedKeys),
            Order::Ascending(last) => *last = encoded,
            Order::Any(seen) if seen.contains(&encoded) => return Err(CborError::DuplicateKey),
            Order::Any(seen) => seen.push(encoded).map_err(|_| CborError::TooManyEntries)?,
        }
        Ok(Some(label))
    }
}
