//! Which address a device comes from.
//!
//! A fleet behind one address would meet per-address limits as one peer and run out of ports. On loopback all of
//! 127.0.0.0/8 is ours, so device `i` connects from
//!
//! ```text
//! 127.(1 + i / 64516).(1 + i / 254 % 254).(1 + i % 254)      device 0: 127.1.1.1, device 254: 127.1.2.1
//! ```
//!
//! gateways from 127.101.…, impostors from 127.201.… by the same rule: what an impostor draws on its address falls on
//! no device. Towards any other target the system chooses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::identity::Member;

/// Addresses below one second octet: neither .0 nor .255 is used.
const PER_OCTET: u32 = 254;

/// The address to bind before connecting to `target`; `None` lets the system choose.
#[must_use]
pub fn source(member: Member, target: SocketAddr) -> Option<SocketAddr> {
    let IpAddr::V4(ip) = target.ip() else {
        return None;
    };
    // Only Linux answers for all of 127.0.0.0/8 without being told to.
    if !ip.is_loopback() || !cfg!(target_os = "linux") {
        return None;
    }
    let (first, index) = match member {
        Member::Device(index) => (1, index),
        Member::Gateway(index) => (101, index),
        Member::Impostor(index) => (201, index),
        Member::Watcher | Member::Controller => return None,
    };
    let octet = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    // Fleets beyond 6.4 million devices would reach the next kind's block: they share addresses instead.
    let block = index / (PER_OCTET * PER_OCTET) % 100;
    let ip = Ipv4Addr::new(
        127,
        octet(first + block),
        octet(1 + index / PER_OCTET % PER_OCTET),
        octet(1 + index % PER_OCTET),
    );
    Some(SocketAddr::new(IpAddr::V4(ip), 0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);

    fn ip(member: Member) -> String {
        source(member, LOOPBACK).expect("loopback").ip().to_string()
    }

    #[test]
    fn devices_come_from_the_documented_addresses() {
        assert_eq!(ip(Member::Device(0)), "127.1.1.1");
        assert_eq!(ip(Member::Device(253)), "127.1.1.254");
        assert_eq!(ip(Member::Device(254)), "127.1.2.1");
        assert_eq!(ip(Member::Device(64_516)), "127.2.1.1");
        assert_eq!(ip(Member::Gateway(0)), "127.101.1.1");
        assert_eq!(ip(Member::Impostor(0)), "127.201.1.1");
    }

    #[test]
    fn twenty_thousand_devices_have_as_many_addresses() {
        let seen: HashSet<String> = (0..20_000).map(|index| ip(Member::Device(index))).collect();
        assert_eq!(seen.len(), 20_000);
    }

    #[test]
    fn elsewhere_the_system_chooses() {
        for target in ["192.0.2.1:1883", "[::1]:1883"] {
            assert_eq!(
                source(Member::Device(0), target.parse().expect("address")),
                None,
                "{target}"
            );
        }
    }
}
