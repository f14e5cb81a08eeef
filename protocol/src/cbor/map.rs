//! Map keys, one at a time, with the rule that their order must keep.

use super::{CborError, Reader};

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
    /// The encoding of the last key: the next one must be greater. That also says that no key occurs twice.
    last: &'a [u8],
}

impl<'a> Map<'a> {
    pub(super) fn new(count: usize) -> Self {
        Self {
            left: count,
            last: &[],
        }
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
        if encoded == self.last {
            return Err(CborError::DuplicateKey);
        }
        if encoded < self.last {
            return Err(CborError::UnsortedKeys);
        }
        self.last = encoded;
        Ok(Some(label))
    }
}
