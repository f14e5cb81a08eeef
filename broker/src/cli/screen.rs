//! Where results go: standard output, as text or as JSON.

use super::failure::Failure;
use serde::Serialize;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

/// Standard output, and how results look on it.
pub(super) struct Screen {
    json: bool,
    out: BufWriter<io::StdoutLock<'static>>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            out: BufWriter::new(io::stdout().lock()),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one result: the value as a line of JSON, or the text.
    pub(super) fn result(
        &mut self,
        value: &impl Serialize,
        text: impl fmt::Display,
    ) -> Result<(), Failure> {
        self.put(value, text)
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// The same for one of many; [`flush`](Self::flush) comes at the end.
    pub(super) fn put(
        &mut self,
        value: &impl Serialize,
        text: impl fmt::Display,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, value)?;
            self.out.write_all(b"\n")
        } else {
            writeln!(self.out, "{text}")
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    /// Tells the person at the terminal something beside the result, on standard error.
    pub(super) fn note(&self, text: impl fmt::Display) {
        // Nobody may be there to read it.
        let mut stderr = io::stderr().lock();
        let _ = if self.json {
            let note = serde_json::json!({"note": text.to_string()});
            writeln!(stderr, "{note}")
        } else {
            writeln!(stderr, "{text}")
        };
    }

    /// Shows how far something is, on one line that is written again and again; only to a terminal.
    pub(super) fn progress(&self, text: impl fmt::Display) {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
        }
    }
}

/// Text that a stranger chose, fit for a terminal: control characters are escaped.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
