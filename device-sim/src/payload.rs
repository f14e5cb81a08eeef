//! What messages carry: enough to prove where each came from.
//!
//! A payload is a JSON object, so that a broker that keeps status documents takes it as a merge patch:
//!
//! ```text
//! {"run":"5f3a9c01","device":12,"seq":3,"pad":"…"}
//! ```

use serde::Deserialize;

/// Names one run: what an earlier run left behind is nobody's loss or duplicate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RunTag([u8; 8]);

impl RunTag {
    /// A tag from four fresh bytes.
    #[must_use]
    pub fn new(bytes: [u8; 4]) -> Self {
        let mut text = [0; 8];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0x0f)];
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        Self(text)
    }

    /// Eight lower-case hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// What a payload says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The device that it came from or was meant for.
    pub device: u32,
    /// Which of the device's messages.
    pub sequence: u32,
}

#[derive(Deserialize)]
struct Wire<'a> {
    run: &'a str,
    device: u32,
    seq: u32,
}

/// Writes a payload of `size` bytes, or of what it needs if that is more, in place of what `out` held.
pub fn write(run: RunTag, mark: Mark, size: u16, out: &mut Vec<u8>) {
    use std::io::Write;

    out.clear();
    let Mark { device, sequence } = mark;
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        r#"{{"run":"{}","device":{device},"seq":{sequence},"pad":""#,
        run.as_str()
    );
    let padding = usize::from(size).saturating_sub(out.len() + 2);
    out.resize(out.len() + padding, b'.');
    out.extend_from_slice(b"\"}");
}

/// Reads a payload; `None` if it is not of this run.
#[must_use]
pub fn read(run: RunTag, payload: &[u8]) -> Option<Mark> {
    let wire: Wire<'_> = serde_json::from_slice(payload).ok()?;
    (wire.run == run.as_str()).then_some(Mark {
        device: wire.device,
        sequence: wire.seq,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_read_back_and_have_the_size_asked_for() {
        let run = RunTag::new([0x5f, 0x3a, 0x9c, 0x01]);
        let mut out = Vec::new();
        for (size, device, sequence) in [(64, 0, 0), (64, u32::MAX, 1), (1_000, 7, u32::MAX)] {
            let mark = Mark { device, sequence };
            write(run, mark, size, &mut out);
            assert!(out.len() >= usize::from(size));
            assert!(out.len() <= usize::from(size).max(80));
            assert_eq!(read(run, &out), Some(mark));
        }
    }

    #[test]
    fn what_is_not_of_this_run_is_nothing() {
        let run = RunTag::new([1; 4]);
        let mut out = Vec::new();
        write(
            RunTag::new([2; 4]),
            Mark {
                device: 1,
                sequence: 1,
            },
            64,
            &mut out,
        );
        assert_eq!(read(run, &out), None);
        for other in [
            "",
            "{}",
            "null",
            r#"{"run":"01010101","device":-1,"seq":0}"#,
        ] {
            assert_eq!(read(run, other.as_bytes()), None, "{other}");
        }
    }
}
