//! The writing end of the trail.

use super::{Keep, aged, current};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The current file of the trail, appended to line by line and rotated by size.
#[derive(Debug)]
pub struct TrailFile {
    directory: PathBuf,
    keep: Keep,
    file: File,
    len: u64,
    /// The file ends in the middle of a line: what comes next starts on a new one.
    torn: bool,
}

impl TrailFile {
    /// Opens the trail in `directory` for appending; the caller holds the lock of that directory.
    pub fn open(directory: &Path, keep: Keep) -> io::Result<Self> {
        let (file, len, torn) = open_current(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            keep,
            file,
            len,
            torn,
        })
    }

    /// Appends whole lines, each with its line end, all or (as far as the disk lets us) none of them.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len.saturating_add(lines.len() as u64) > self.keep.file_bytes_max {
            self.rotate()?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.len += 1;
            self.torn = false;
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.len += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A full disk may have taken half of it: cut it off, or begin anew behind it.
                self.torn = self.file.set_len(self.len).is_err();
                Err(error)
            }
        }
    }

    /// Waits until all that was appended is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        let oldest = self.keep.files_max.saturating_sub(1);
        ignore_missing(fs::remove_file(aged(&self.directory, oldest)))?;
        for age in (0..oldest).rev() {
            ignore_missing(fs::rename(
                aged(&self.directory, age),
                aged(&self.directory, age + 1),
            ))?;
        }
        (self.file, self.len, self.torn) = open_current(&self.directory)?;
        Ok(())
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens the current file: with its length, and whether a writer was killed in the middle of its last line.
fn open_current(directory: &Path) -> io::Result<(File, u64, bool)> {
    let mut file = OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(0o600)
        .open(current(directory))?;
    let len = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if len > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok((file, len, last != [b'\n']))
}
