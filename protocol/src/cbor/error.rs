//! One named error for each rule of the reader.

use core::fmt;

/// Why bytes are not what the reader was asked for. All of it is the sender's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CborError {
    /// A text string that is not UTF-8.
    BadUtf8,
    /// The same key twice in one map.
    DuplicateKey,
    /// The bytes end inside an item, or a length points beyond the end.
    EndOfInput,
    /// A floating-point number: no value of ours is one.
    Float,
    /// An item whose length is left open until a break.
    IndefiniteLength,
    /// An integer outside what the reader can hold, or outside what the field allows.
    IntegerRange,
    /// An integer, length or tag in more bytes than it needs.
    NotMinimal,
    /// A head with a reserved length code (28 to 30), or a break outside an item.
    ReservedHead,
    /// A simple value other than false, true and null.
    SimpleValue,
    /// More nesting than [`DEPTH_MAX`](super::DEPTH_MAX).
    TooDeep,
    /// Bytes after the end of the item.
    TrailingBytes,
    /// A tag where the profile defines none.
    UnexpectedTag,
    /// An item of another type than the field has.
    UnexpectedType,
    /// Map keys out of ascending bytewise order.
    UnsortedKeys,
    /// An array or map with another number of items than the structure has.
    WrongCount,
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadUtf8 => "CBOR text is not UTF-8",
            Self::DuplicateKey => "CBOR map holds a key twice",
            Self::EndOfInput => "CBOR ends inside an item",
            Self::Float => "CBOR holds a float",
            Self::IndefiniteLength => "CBOR item has indefinite length",
            Self::IntegerRange => "CBOR integer is out of range",
            Self::NotMinimal => "CBOR head is longer than needed",
            Self::ReservedHead => "CBOR head is reserved",
            Self::SimpleValue => "CBOR simple value is none of false, true, null",
            Self::TooDeep => "CBOR nests too deep",
            Self::TrailingBytes => "CBOR item is followed by more bytes",
            Self::UnexpectedTag => "CBOR tag where none is defined",
            Self::UnexpectedType => "CBOR item has the wrong type",
            Self::UnsortedKeys => "CBOR map keys are not in ascending order",
            Self::WrongCount => "CBOR array or map has the wrong number of items",
        })
    }
}

impl core::error::Error for CborError {}
