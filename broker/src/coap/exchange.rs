//! The message layer (RFC 7252 §4): which datagrams are requests, and how the rest is turned away.
//!
//! There is no table of message ids here, on purpose. RFC 7252 §4.5 lets a server do without one where a repeated
//! request is harmless and its answer can be made again, and so it is with every resource on plain UDP: a challenge is
//! good whenever it is made; keys and links are read; and a token is a function of the signed request (`cti` from its
//! hash, `iat` from its Echo), so a retransmission, a duplicate and a replay within the window all get the same token,
//! byte for byte. A table would be memory that strangers fill, and it would hand out a token after its device was
//! suspended. A resource that changes something would have to remember the hashes of its signed requests per identity.
use super::message::{FormatError, Header, Kind, Request, reset};

/// What to do with a datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing: it is not for us, or silence is what the standard asks for.
    Ignore(Option<FormatError>),
    /// Reject it with this Reset: a ping, a response to what we never asked, or a broken message.
    Reset(Vec<u8>, Option<FormatError>),
    /// Answer 4.13: larger than a message may be. Only the header has been read.
    Oversized(Header),
    /// Answer it.
    Answer(Box<Request>),
}

/// Sorts a datagram. `datagram` may be cut at one byte more than `limits::DATAGRAM_MAX`.
#[must_use]
pub fn receive(datagram: &[u8]) -> Step {
    let header = match Header::decode(datagram) {
        Ok(header) => header,
        Err(error) => return reject(datagram, Some(error)),
    };
    match header.kind {
        // We send nothing that could be acknowledged, so these are strays; answering them could loop.
        Kind::Acknowledgement | Kind::Reset => return Step::Ignore(None),
        Kind::Confirmable | Kind::NonConfirmable => {}
    }
    if !header.is_request() {
        // A ping (code 0.00), or a response to nothing.
        return reject(datagram, None);
    }
    if datagram.len() > super::limits::DATAGRAM_MAX {
        return Step::Oversized(header);
    }
    match Request::decode(header, datagram) {
        // A critical option that we do not understand rejects a non-confirmable message (RFC 7252 §5.4.1).
        Ok(request) if request.bad_option.is_some() && header.kind == Kind::NonConfirmable => {
            Step::Ignore(None)
        }
        Ok(request) => Step::Answer(Box::new(request)),
        Err(error) => reject(datagram, Some(error)),
    }
}

fn reject(datagram: &[u8], error: Option<FormatError>) -> Step {
    match reset(datagram) {
        Some(bytes) => Step::Reset(bytes, error),
        None => Step::Ignore(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::limits::DATAGRAM_MAX;

    const RESET: [u8; 4] = [0x70, 0x00, 0x12, 0x34];

    #[test]
    fn ping_gets_a_reset() {
        let step = receive(&[0x40, 0x00, 0x12, 0x34]);
        assert_eq!(step, Step::Reset(RESET.to_vec(), None));
        assert_eq!(receive(&[0x50, 0x00, 0x12, 0x34]), Step::Ignore(None));
    }

    #[test]
    fn response_to_nothing_gets_a_reset() {
        let step = receive(&[0x40, 0x45, 0x12, 0x34]);
        assert_eq!(step, Step::Reset(RESET.to_vec(), None));
        assert_eq!(receive(&[0x50, 0x45, 0x12, 0x34]), Step::Ignore(None));
    }

    #[test]
    fn acknowledgements_and_resets_are_never_answered() {
        for first in [0x60, 0x70] {
            for code in [0x00, 0x01, 0x45, 0x84] {
                let step = receive(&[first, code, 0x12, 0x34]);
                assert_eq!(step, Step::Ignore(None), "{first:#x} {code:#x}");
            }
        }
    }

    #[test]
    fn format_error_gets_a_reset_if_confirmable_and_else_silence() {
        for (tail, error) in [
            (&[0x01, 0x12, 0x34, 0xff][..], FormatError::PayloadEmpty),
            (&[0x01, 0x12, 0x34, 0xf0], FormatError::OptionHeader),
            (&[0x20, 0x12, 0x34], FormatError::ReservedClass(0x20)),
            (&[0x00, 0x12, 0x34, 0x00], FormatError::EmptyWithContent),
        ] {
            let confirmable = [&[0x40], tail].concat();
            assert_eq!(
                receive(&confirmable),
                Step::Reset(RESET.to_vec(), Some(error))
            );
            let other = [&[0x50], tail].concat();
            assert_eq!(receive(&other), Step::Ignore(Some(error)));
        }
    }

    #[test]
    fn unknown_version_and_stubs_are_ignored() {
        let error = Some(FormatError::Version);
        assert_eq!(receive(&[0x00, 0x01, 0x12, 0x34]), Step::Ignore(error));
        let error = Some(FormatError::Short);
        assert_eq!(receive(&[0x40, 0x01]), Step::Ignore(error));
    }

    #[test]
    fn unknown_critical_option_is_answered_if_confirmable_and_else_ignored() {
        assert!(matches!(
            receive(&[0x40, 0x01, 0x12, 0x34, 0x90]),
            Step::Answer(request) if request.bad_option == Some(9)
        ));
        let step = receive(&[0x50, 0x01, 0x12, 0x34, 0x90]);
        assert_eq!(step, Step::Ignore(None));
    }

    #[test]
    fn oversized_request_is_told_so_after_its_header() {
        let mut datagram = vec![0xff; DATAGRAM_MAX + 1];
        datagram[..5].copy_from_slice(&[0x41, 0x02, 0x12, 0x34, 9]);
        assert!(matches!(receive(&datagram), Step::Oversized(header) if header.token() == [9]));
    }
}
