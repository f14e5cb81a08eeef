//! Ranges of network addresses.
use std::net::{AddrParseError, IpAddr};
use std::num::ParseIntError;
use std::str::FromStr;

use thiserror::Error;

/// Addresses with a common beginning: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressRange {
    first: IpAddr,
    /// Leading bits that all of them share.
    bits: u32,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AddressRangeError {
    /// What stands before the slash.
    #[error("`{0}` is no address; write an address or ADDRESS/BITS, such as 10.0.0.0/8")]
    Address(String, #[source] AddrParseError),
    /// What stands behind it.
    #[error("`{0}` has no number of bits behind its slash")]
    Bits(String, #[source] ParseIntError),
    /// More than an address has.
    #[error("`{0}` has more bits behind its slash than its address has")]
    TooManyBits(String),
    /// Bits that are set behind those that count: most likely a slip of the pen.
    #[error("`{0}` has bits set behind the first {1}; the range would begin at {2}")]
    HostBits(String, u32, IpAddr),
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use AddressRangeError as E;
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address
            .parse()
            .map_err(|error| E::Address(text.into(), error))?;
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|error| E::Bits(text.into(), error))?,
            None => width(first),
        };
        if bits > width(first) {
            return Err(E::TooManyBits(text.into()));
        }
        let begins = truncated(first, bits);
        if begins != first {
            return Err(E::HostBits(text.into(), bits, begins));
        }
        Ok(Self { first, bits })
    }
}

impl AddressRange {
    /// Whether the address is one of them. An IPv4 address that came in over IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, address) = (self.first, address.to_canonical());
        width(first) == width(address) && truncated(address, self.bits) == first
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

/// The address with only its first bits.
fn truncated(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::BITS - bits).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u128::BITS - bits).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// Peers by their address, such as the proxies whose word about a client's address is taken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AddressRanges(Vec<AddressRange>);

impl FromIterator<AddressRange> for AddressRanges {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl AddressRanges {
    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_begins_alike() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "ffff::", "127.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
        ] {
            let trusted: AddressRanges = range.parse().into_iter().collect();
            assert!(
                trusted.contains(inside.parse().unwrap()),
                "{range} {inside}"
            );
            assert!(
                !trusted.contains(outside.parse().unwrap()),
                "{range} {outside}"
            );
        }
        assert!(!AddressRanges::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_range_that_is_none_is_explained() {
        for (text, fault) in [
            ("proxy.example", "no address"),
            ("", "no address"),
            ("10.0.0.0/", "no number of bits"),
            ("10.0.0.0/x", "no number of bits"),
            ("10.0.0.0/33", "more bits"),
            ("::/129", "more bits"),
            ("10.1.2.3/8", "would begin at 10.0.0.0"),
        ] {
            let error = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
    }
}
