//! Public keys as they are given on the command line.

use super::failure::Failure;
use super::screen::shown;
use crate::identity::{PublicKeyError, parse_public_key};
use keygate_protocol::crypto::PublicKey;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest text that is read for a key or a token: a PEM or a JWK has a few hundred bytes.
const TEXT_BYTES_MAX: u64 = 64 * 1024;

/// A public key given as itself, as the file that holds it, or as `-`.
pub(super) fn public_key(given: &str) -> Result<PublicKey, Failure> {
    let text = text_or_file(given)?;
    parse_public_key(&text).map_err(|error| match error {
        // What was given may have been meant as the name of a file.
        PublicKeyError::Unrecognised if text == given => Failure::wrong_use(format!(
            "public key `{}`: no file has this name, and it is {error}",
            shown(given)
        )),
        error => Failure::wrong_use(format!("public key: {error}")),
    })
}

/// The text itself, unless a file has that name; `-` is standard input.
pub(super) fn text_or_file(given: &str) -> Result<String, Failure> {
    if given == "-" {
        return standard_input();
    }
    let path = Path::new(given);
    if !path.is_file() {
        return Ok(given.to_owned());
    }
    let unreadable = |error| Failure::failed(format!("{given}: {error}"));
    read(File::open(path).map_err(unreadable)?).map_err(unreadable)
}

/// All of standard input, if it is a text of a sensible length.
pub(super) fn standard_input() -> Result<String, Failure> {
    read(io::stdin()).map_err(|error| Failure::failed(format!("standard input: {error}")))
}

fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::Error::other("too long for a key or a token"));
    }
    Ok(text)
}
