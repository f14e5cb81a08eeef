//! The strict reader.

use super::{CborError, Label, Map};

/// Deepest nesting that [`Reader::skip`] and [`Reader::raw`] follow. Our deepest message nests five deep (a token
/// request: map, confirmation, COSE_Key); eight bounds the stack of a device.
pub const DEPTH_MAX: u8 = 8;

/// Reads deterministic CBOR from a slice, item by item. Never panics; work is bounded by the length of the slice.
///
/// Nothing is checked ahead: an item is checked when it is read, and [`finish`](Self::finish) says that nothing
/// follows. After an error the reader is of no further use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// What the next item is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An array.
    Array,
    /// False or true.
    Bool,
    /// A byte string.
    Bytes,
    /// A map.
    Map,
    /// A negative integer.
    Negative,
    /// Null.
    Null,
    /// A tag and the item in it.
    Tag,
    /// A text string.
    Text,
    /// An unsigned integer.
    Unsigned,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Says that the item just read was the last one.
    pub fn finish(&self) -> Result<(), CborError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CborError::TrailingBytes)
        }
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The kind of the next item, without reading it.
    pub fn kind(&self) -> Result<Kind, CborError> {
        let head = *self.rest.first().ok_or(CborError::EndOfInput)?;
        Ok(match head >> 5 {
            0 => Kind::Unsigned,
            1 => Kind::Negative,
            2 => Kind::Bytes,
            3 => Kind::Text,
            4 => Kind::Array,
            5 => Kind::Map,
            6 => Kind::Tag,
            _ => match head & 0x1f {
                20 | 21 => Kind::Bool,
                22 => Kind::Null,
                25..=27 => return Err(CborError::Float),
                28..=31 => return Err(CborError::ReservedHead),
                _ => return Err(CborError::SimpleValue),
            },
        })
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.head_of(Kind::Unsigned)
    }

    /// An integer of either sign that fits 64 bits with its sign.
    pub fn int(&mut self) -> Result<i64, CborError> {
        match self.kind()? {
            Kind::Negative => {
                let value = i64::try_from(self.argument()?).map_err(|_| CborError::IntegerRange)?;
                Ok(-1 - value)
            }
            _ => i64::try_from(self.uint()?).map_err(|_| CborError::IntegerRange),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let len = self.head_of(Kind::Bytes)?;
        self.take(len)
    }

    /// A byte string of exactly `N` bytes.
    pub fn bytes_of<const N: usize>(&mut self) -> Result<&'a [u8; N], CborError> {
        self.bytes()?.try_into().map_err(|_| CborError::WrongCount)
    }

    /// A text string.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let len = self.head_of(Kind::Text)?;
        core::str::from_utf8(self.take(len)?).map_err(|_| CborError::BadUtf8)
    }

    /// False or true.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        self.expect(Kind::Bool)?;
        Ok(self.byte()? == 0xf5)
    }

    /// Null, if that is the next item.
    pub fn null(&mut self) -> Result<bool, CborError> {
        let is_null = self.kind()? == Kind::Null;
        if is_null {
            self.byte()?;
        }
        Ok(is_null)
    }

    /// The head of an array: how many items follow. Never more than there are bytes left.
    pub fn array(&mut self) -> Result<usize, CborError> {
        let count = self.head_of(Kind::Array)?;
        self.plausible(count, 1)
    }

    /// The head of an array of exactly `count` items.
    pub fn array_of(&mut self, count: usize) -> Result<(), CborError> {
        if self.array()? == count {
            Ok(())
        } else {
            Err(CborError::WrongCount)
        }
    }

    /// The head of a map, whose keys must ascend bytewise.
    pub fn map(&mut self) -> Result<Map<'a>, CborError> {
        let count = self.head_of(Kind::Map)?;
        Ok(Map::new(self.plausible(count, 2)?))
    }

    /// The tag `number`, if the next item has it; any other tag is an error.
    pub fn tag(&mut self, number: u64) -> Result<bool, CborError> {
        if self.kind()? != Kind::Tag {
            return Ok(false);
        }
        if self.argument()? == number {
            Ok(true)
        } else {
            Err(CborError::UnexpectedTag)
        }
    }

    /// The next item, checked in full, as it stands.
    pub fn raw(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.rest;
        self.skip()?;
        let len = start.len() - self.rest.len();
        start.get(..len).ok_or(CborError::EndOfInput)
    }

    /// Passes over the next item, checking all of it.
    pub fn skip(&mut self) -> Result<(), CborError> {
        self.skip_nested(DEPTH_MAX)
    }

    fn skip_nested(&mut self, depth_left: u8) -> Result<(), CborError> {
        match self.kind()? {
            Kind::Unsigned | Kind::Negative => {
                self.argument()?;
            }
            Kind::Bytes => {
                self.bytes()?;
            }
            Kind::Text => {
                self.text()?;
            }
            Kind::Bool | Kind::Null => {
                self.byte()?;
            }
            Kind::Tag => return Err(CborError::UnexpectedTag),
            Kind::Array => {
                let depth_left = depth_left.checked_sub(1).ok_or(CborError::TooDeep)?;
                for _ in 0..self.array()? {
                    self.skip_nested(depth_left)?;
                }
            }
            Kind::Map => {
                let depth_left = depth_left.checked_sub(1).ok_or(CborError::TooDeep)?;
                let mut map = self.map()?;
                while map.next_label(self)?.is_some() {
                    self.skip_nested(depth_left)?;
                }
            }
        }
        Ok(())
    }

    /// A map key and its encoding: an integer or a text, as in every map of COSE, CWT and ACE.
    pub(super) fn label(&mut self) -> Result<(Label<'a>, &'a [u8]), CborError> {
        let start = self.rest;
        let label = match self.kind()? {
            Kind::Text => Label::Text(self.text()?),
            _ => Label::Int(self.int()?),
        };
        let len = start.len() - self.rest.len();
        Ok((label, start.get(..len).ok_or(CborError::EndOfInput)?))
    }

    /// A count of items that each take at least `item_len` bytes: a larger one cannot be true, and a loop over it
    /// must not start.
    fn plausible(&self, count: u64, item_len: usize) -> Result<usize, CborError> {
        let count = usize::try_from(count).map_err(|_| CborError::EndOfInput)?;
        if count > self.rest.len() / item_len {
            Err(CborError::EndOfInput)
        } else {
            Ok(count)
        }
    }

    fn expect(&self, kind: Kind) -> Result<(), CborError> {
        match self.kind()? {
            found if found == kind => Ok(()),
            Kind::Tag => Err(CborError::UnexpectedTag),
            _ => Err(CborError::UnexpectedType),
        }
    }

    fn head_of(&mut self, kind: Kind) -> Result<u64, CborError> {
        self.expect(kind)?;
        self.argument()
    }

    /// Reads a head and returns its argument, which must stand in the shortest form.
    fn argument(&mut self) -> Result<u64, CborError> {
        let short = self.byte()? & 0x1f;
        let (value, least) = match short {
            0..=23 => return Ok(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.array_of_bytes()?)), 24),
            25 => (
                u64::from(u16::from_be_bytes(self.array_of_bytes()?)),
                1 << 8,
            ),
            26 => (
                u64::from(u32::from_be_bytes(self.array_of_bytes()?)),
                1 << 16,
            ),
            27 => (u64::from_be_bytes(self.array_of_bytes()?), 1 << 32),
            31 => return Err(CborError::IndefiniteLength),
            _ => return Err(CborError::ReservedHead),
        };
        if value < least {
            Err(CborError::NotMinimal)
        } else {
            Ok(value)
        }
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        let (first, rest) = self.rest.split_first().ok_or(CborError::EndOfInput)?;
        self.rest = rest;
        Ok(*first)
    }

    fn array_of_bytes<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(CborError::EndOfInput)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], CborError> {
        let len = usize::try_from(len).map_err(|_| CborError::EndOfInput)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(CborError::EndOfInput)?;
        self.rest = rest;
        Ok(taken)
    }
}
