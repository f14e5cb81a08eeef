//! Files that are whole or not there, whenever the process or the machine dies.
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a file's name ends in while it is being written: nobody else's file is called so.
const TEMPORARY: &str = ".keygate-tmp";

/// Whether a file of this name may be there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Writes a file readable by its owner only: a temporary one beside it, fsync, its final name, fsync of the directory.
///
/// With [`Existing::Keep`] a file that is there is an error of kind `AlreadyExists`.
pub(super) fn write(path: &Path, content: &[u8], existing: Existing) -> io::Result<()> {
    let temporary = temporary(path)?;
    // The name has our process id in it, so a file that is there was left by one that is gone.
    remove_if_there(&temporary)?;
    let placed = fill(&temporary, content).and_then(|()| match existing {
        Existing::Replace => fs::rename(&temporary, path),
        // A rename would overwrite; a second name for the file cannot.
        Existing::Keep => fs::hard_link(&temporary, path),
    });
    if existing == Existing::Keep || placed.is_err() {
        let removed = remove_if_there(&temporary);
        placed.and(removed)?;
    }
    sync_directory(path)
}

/// Removes what killed calls of [`write()`] left in a directory that only this process works on.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(TEMPORARY.as_bytes())
        {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// Makes the directory's entry of `path` durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn fill(temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(content)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}{TEMPORARY}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_whole_private_and_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pem");
        for (content, existing) in [("one", Existing::Keep), ("two", Existing::Replace)] {
            write(&path, content.as_bytes(), existing).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(names(directory.path()), ["a.pem"]);
        }
    }

    #[test]
    fn keep_refuses_and_leaves_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pem");
        write(&path, b"one", Existing::Keep).unwrap();
        let error = write(&path, b"two", Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(directory.path()), ["a.pem"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pem");
        fs::write(temporary(&path).unwrap(), "ha").unwrap();
        write(&path, b"whole", Existing::Keep).unwrap();
        for name in [".a.pem.1.keygate-tmp", ".b.2.keygate-tmp"] {
            fs::write(directory.path().join(name), "ha").unwrap();
        }
        sweep(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(names(directory.path()), ["a.pem"]);
    }
}
