use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Bytes that one write puts into a reserve, where the file system cannot set space aside.
const WRITE_BYTES: usize = 64 * 1024;

/// Space on the disk that belongs to a database beside it: a file that is allocated and never read.
///
/// A full disk fails the very writes that would free it, for a deletion takes pages too. So some space is kept, given
/// back when the disk is full for the first time, and made again when there is room. In between, whoever owns it does
/// only what makes the database smaller.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// The reserve in this file, as large as this. It is not made yet.
    #[must_use]
    pub fn new(path: PathBuf, bytes: u64) -> Self {
        Self {
            path,
            bytes,
            held: false,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the space is set aside.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Sets the space aside, all of it or nothing; what is there already stays.
    ///
    /// # Errors
    /// What the system says: most often that the disk is full.
    pub fn make(&mut self) -> io::Result<()> {
        if self.held {
            return Ok(());
        }
        let file = self.open()?;
        let made = allocate(&file, self.bytes).and_then(|()| {
            // A larger reserve of an earlier start gives back what is too much.
            file.set_len(self.bytes)?;
            file.sync_all()
        });
        if let Err(error) = made {
            // Half a reserve helps nobody, and takes what others could use.
            let _ = file.set_len(0);
            return Err(error);
        }
        self.held = true;
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&mut self) -> io::Result<()> {
        let file = self.open()?;
        file.set_len(0)?;
        self.held = false;
        // A file system with a journal gives the blocks to others only once it has written that down.
        file.sync_all()
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
    }
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(file, bytes),
        other => Ok(other?),
    }
}

/// The slow way: every block is written.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let block = vec![0; WRITE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).map_or(WRITE_BYTES, |left| left.min(WRITE_BYTES));
        file.write_all(block.get(..count).unwrap_or(&block))?;
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const BYTES: u64 = 300_000;

    fn allocated(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().blocks() * 512
    }

    #[test]
    fn it_takes_space_and_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.reserve");
        let mut reserve = Reserve::new(path.clone(), BYTES);
        for _ in 0..2 {
            reserve.make().unwrap();
            assert!(reserve.is_held());
            assert!(allocated(&path) >= BYTES);
            reserve.free().unwrap();
            assert!(!reserve.is_held());
            assert_eq!(allocated(&path), 0);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_reserve_of_an_earlier_start_is_kept_and_cut_to_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.reserve");
        Reserve::new(path.clone(), 4 * BYTES).make().unwrap();
        Reserve::new(path.clone(), BYTES).make().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), BYTES);
        assert!((BYTES..2 * BYTES).contains(&allocated(&path)));
    }

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.reserve");
        let mut reserve = Reserve::new(path.clone(), 1 << 50);
        reserve.make().unwrap_err();
        assert!(!reserve.is_held());
        assert_eq!(allocated(&path), 0);
    }

    #[test]
    fn where_nothing_can_be_set_aside_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.reserve");
        let file = File::create(&path).unwrap();
        fill(&file, BYTES).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), BYTES);
        assert!(allocated(&path) >= BYTES);
    }
}
