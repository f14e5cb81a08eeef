//! Deterministic CBOR (RFC 8949 §4.2.1): a reader that takes nothing else, and a writer that makes nothing else.
//!
//! Everything that Keygate signs, and everything that it reads under a signature, is one value in one encoding. The
//! reader therefore refuses, each with its own [`CborError`]: indefinite lengths, heads longer than needed, floats, tags
//! where none is defined, simple values other than false, true and null, text that is not UTF-8, map keys that are
//! not in ascending bytewise order, keys that occur twice, nesting deeper than [`DEPTH_MAX`], bytes after the end.
//!
//! ```
//! use keygate_protocol::cbor::{CborError, Reader, Writer};
//! use keygate_protocol::sink::SliceSink;
//!
//! let mut buffer = [0; 16];
//! let mut sink = SliceSink::new(&mut buffer);
//! let mut writer = Writer::new(&mut sink);
//! writer.array(2)?;
//! writer.uint(500)?;
//! writer.text("ok")?;
//! assert_eq!(sink.written(), b"\x82\x19\x01\xf4\x62ok");
//!
//! let mut reader = Reader::new(b"\x82\x19\x01\xf4\x62ok");
//! reader.array_of(2)?;
//! assert_eq!(reader.uint()?, 500);
//! assert_eq!(reader.text()?, "ok");
//! reader.finish()?;
//!
//! // The same number in a longer head is another encoding of the same value: refused.
//! assert_eq!(Reader::new(b"\x1a\0\0\x01\xf4").uint(), Err(CborError::NotMinimal));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod error;
mod map;
mod reader;
mod writer;

pub use error::CborError;
pub use map::{Label, Map};
pub use reader::{DEPTH_MAX, Kind, Reader};
pub use writer::Writer;

#[cfg(test)]
mod tests;
