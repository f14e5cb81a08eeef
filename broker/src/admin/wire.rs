//! Lines and chunks of bounded length: nobody makes the other end hold more than that.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, Read, Write};

/// Longest line with a command: a device with every list full fits several times.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Longest line with an answer: the twenty problems of a refused import, each with its text.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes in one chunk of an import.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Digits of a chunk's length, and the line end.
const CHUNK_HEAD_MAX: usize = 6;

/// Writes a value as one line.
pub fn write_line(to: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads a value from one line of at most `max` bytes; `None` at the end of the input.
pub fn read_line<T: DeserializeOwned>(from: &mut dyn BufRead, max: usize) -> io::Result<Option<T>> {
    let Some(line) = raw_line(from, max)? else {
        return Ok(None);
    };
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn raw_line(from: &mut dyn BufRead, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(max as u64).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() == max => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line is longer than {max} bytes"),
        )),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends everything from `from` in chunks, and the end mark.
pub fn send_chunks(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES_MAX];
    loop {
        let len = match from.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(format!("{len}\n").as_bytes())?;
        if len == 0 {
            return to.flush();
        }
        to.write_all(chunk.get(..len).unwrap_or_default())?;
    }
}

/// The other end of [`send_chunks`]: ends at the end mark, and is an error if the input ends before it.
#[derive(Debug)]
pub struct Chunks<R> {
    from: R,
    left: usize,
    ended: bool,
}

impl<R: BufRead> Chunks<R> {
    /// Chunks follow in `from`.
    pub fn new(from: R) -> Self {
        Self {
            from,
            left: 0,
            ended: false,
        }
    }

    /// Whether the end mark was read: only then a further command can follow.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let head = raw_line(&mut self.from, CHUNK_HEAD_MAX)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let len = std::str::from_utf8(head.trim_ascii_end())
            .ok()
            .and_then(|digits| digits.parse().ok())
            .filter(|len| *len <= CHUNK_BYTES_MAX);
        self.left = len.ok_or(io::ErrorKind::InvalidData)?;
        self.ended = self.left == 0;
        Ok(())
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Chunks<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended {
            return Ok(&[]);
        }
        let available = self.from.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len);
        self.from.consume(len);
    }
}
