//! The header with which a proxy says whose connection it passes on: PROXY protocol, version 2.
use std::net::SocketAddr;

use ppp::v2;
use thiserror::Error;

/// How every header begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length.
const FIXED_BYTES: usize = 16;
/// The longest header that is read: addresses of IPv6 and some 480 bytes of what else proxies like to say.
const HEADER_BYTES_MAX: usize = FIXED_BYTES + 520;

/// Why a header cannot be taken: the fault of whoever set the proxy up.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ProxyError {
    /// Something else came: the proxy is not set up to send it, or speaks version 1.
    #[error("PROXY protocol: no header of version 2 at the start")]
    NotThere,
    /// More than any proxy has to say.
    #[error("PROXY protocol: a header of more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// It breaks a rule.
    #[error("PROXY protocol: a malformed header")]
    Malformed,
    /// A connection over something else than TCP.
    #[error("PROXY protocol: a header that is not about TCP")]
    NotTcp,
}

/// How far the header has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Read {
    /// The rest of it is not there yet.
    More,
    /// It is whole.
    Header {
        /// Who is behind the proxy; none if the connection is the proxy's own.
        source: Option<SocketAddr>,
        /// Its length, bytes.
        taken: usize,
    },
}

/// Reads the header at the start of a connection.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, ProxyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) {
        return Err(ProxyError::NotThere);
    }
    let Some(&[high, low]) = bytes.get(FIXED_BYTES - 2..FIXED_BYTES) else {
        return Ok(Read::More);
    };
    let taken = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if taken > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(header) = bytes.get(..taken) else {
        return Ok(Read::More);
    };
    let header = v2::Header::try_from(header).map_err(|_| ProxyError::Malformed)?;
    let source = match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, ..) => None,
        (_, v2::Protocol::Stream, v2::Addresses::IPv4(ends)) => {
            Some((ends.source_address, ends.source_port).into())
        }
        (_, v2::Protocol::Stream, v2::Addresses::IPv6(ends)) => {
            Some((ends.source_address, ends.source_port).into())
        }
        (_, _, v2::Addresses::Unspecified) => None,
        _ => return Err(ProxyError::NotTcp),
    };
    Ok(Read::Header { source, taken })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family][..], &length, rest].concat()
    }

    const OVER_V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x07, 0x5b];

    #[test]
    fn the_source_comes_out_and_what_follows_stays() {
        let mut over_v6 = [0; 36];
        over_v6[..16].copy_from_slice(
            &"2001:db8::7"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        over_v6[32..34].copy_from_slice(&443_u16.to_be_bytes());
        for (bytes, source) in [
            (header(1, 0x11, &OVER_V4), Some("192.0.2.7:8080")),
            (header(1, 0x21, &over_v6), Some("[2001:db8::7]:443")),
            (header(0, 0x11, &OVER_V4), None),
            (header(0, 0x00, &[]), None),
            (header(1, 0x00, &[]), None),
            // Something else that the proxy says (a type, a length, a value) is skipped.
            (
                header(1, 0x11, &[&OVER_V4[..], &[4, 0, 2, 1, 2]].concat()),
                Some("192.0.2.7:8080"),
            ),
        ] {
            let source = source.map(|text| text.parse().unwrap());
            let taken = bytes.len();
            for cut in 0..taken {
                assert_eq!(read(&bytes[..cut]), Ok(Read::More), "{cut}");
            }
            let followed = [&bytes[..], b"\x10\x0e"].concat();
            assert_eq!(read(&followed), Ok(Read::Header { source, taken }));
        }
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_wrong_byte() {
        let good = header(1, 0x11, &OVER_V4);
        for at in 0..SIGNATURE.len() {
            let mut bad = good[..=at].to_vec();
            bad[at] ^= 1;
            assert_eq!(read(&bad), Err(ProxyError::NotThere), "{at}");
        }
        assert_eq!(read(b"PROXY TCP4 1.2.3.4"), Err(ProxyError::NotThere));
        assert_eq!(read(b"\x10\x0e\x00\x04MQTT"), Err(ProxyError::NotThere));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let mut old = header(1, 0x11, &OVER_V4);
        old[12] = 0x11;
        let too_long = header(1, 0x11, &[0; 521]);
        for (bytes, error) in [
            (old, ProxyError::Malformed),
            (header(2, 0x11, &OVER_V4), ProxyError::Malformed),
            (header(1, 0x11, &OVER_V4[..8]), ProxyError::Malformed),
            (header(1, 0x12, &OVER_V4), ProxyError::NotTcp),
            (header(1, 0x31, &[0; 216]), ProxyError::NotTcp),
            // Before it is there.
            (too_long[..FIXED_BYTES].to_vec(), ProxyError::TooLong),
        ] {
            assert_eq!(read(&bytes), Err(error), "{bytes:02x?}");
        }
    }
}
