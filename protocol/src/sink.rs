//! Where encoded bytes go.
//!
//! Every encoder in this crate writes into a [`Sink`]; nothing here allocates. A device hands in a
//! [`heapless::Vec`] or a [`SliceSink`] over its own buffer, a broker implements [`Sink`] for a wrapper around its
//! output buffer.
//!
//! ```
//! use keygate_protocol::sink::{CapacityError, Sink, SliceSink};
//!
//! let mut buffer = [0; 4];
//! let mut sink = SliceSink::new(&mut buffer);
//! sink.put(b"abc")?;
//! assert_eq!(sink.put(b"de"), Err(CapacityError));
//! assert_eq!(sink.written(), b"abc");
//! # Ok::<(), CapacityError>(())
//! ```
use core::fmt;

/// The bytes do not fit: the sink is full, or a length field of the format cannot express them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CapacityError;

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the encoded bytes do not fit")
    }
}

impl core::error::Error for CapacityError {}

/// Takes bytes in order.
///
/// An encoder calls [`put`](Self::put) with pieces of one value; after an error the caller throws away what this value
/// has put so far.
pub trait Sink {
    /// Appends all of `bytes`, or nothing and an error.
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError>;
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        (**self).put(bytes)
    }
}

impl<const N: usize> Sink for heapless::Vec<u8, N> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.extend_from_slice(bytes).map_err(|_| CapacityError)
    }
}

/// Writes from the start of a caller's buffer.
#[derive(Debug)]
pub struct SliceSink<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> SliceSink<'a> {
    /// An empty sink that can take `buffer.len()` bytes.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// What has been put so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// How many bytes have been put so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been put yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been put, for as long as the buffer lives.
    #[must_use]
    pub fn into_written(self) -> &'a [u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Sink for SliceSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let end = self.len.checked_add(bytes.len()).ok_or(CapacityError)?;
        let free = self.buffer.get_mut(self.len..end).ok_or(CapacityError)?;
        free.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// Counts instead of writing: running an encoder into it gives the exact length that it will write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counter(usize);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes have been put.
    #[must_use]
    pub fn total(self) -> usize {
        self.0
    }
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0 = self.0.checked_add(bytes.len()).ok_or(CapacityError)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_sink_takes_exactly_its_buffer() {
        let mut buffer = [0; 3];
        let mut sink = SliceSink::new(&mut buffer);
        assert!(sink.is_empty());
        assert_eq!(sink.put(b"ab"), Ok(()));
        assert_eq!(sink.put(b"c"), Ok(()));
        assert_eq!(sink.put(b""), Ok(()));
        assert_eq!(sink.put(b"d"), Err(CapacityError));
        assert_eq!(sink.len(), 3);
        assert_eq!(sink.into_written(), b"abc");
    }

    #[test]
    fn a_refused_put_leaves_nothing_behind() {
        let mut vec = heapless::Vec::<u8, 4>::new();
        assert_eq!(vec.put(b"abc"), Ok(()));
        assert_eq!(vec.put(b"de"), Err(CapacityError));
        assert_eq!(vec.as_slice(), b"abc");
    }

    #[test]
    fn counter_counts_what_a_sink_would_take() {
        let mut counter = Counter::new();
        assert_eq!(counter.put(b"abc"), Ok(()));
        assert_eq!(counter.put(b"de"), Ok(()));
        assert_eq!(counter.total(), 5);
    }
}
