//! The Echo of RFC 9175 as a challenge that costs no memory: 4 bytes of time in seconds, and 8 bytes of a MAC over that
//! time and the peer's address. Whoever returns one within the window has been reached at that address since; a
//! signature over it is therefore fresh.
use super::limits::{CLOCK_STEP_MAX_S, ECHO_WINDOW_S};
use hmac::{Hmac, KeyInit, Mac};
use keygate_protocol::time::{Millis, UnixTime};
use sha2::Sha256;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

const TIME_LEN: usize = 4;
const MAC_LEN: usize = 8;
/// Bytes of an Echo value of ours.
pub const ECHO_LEN: usize = TIME_LEN + MAC_LEN;

/// Why an Echo value does not count. The peer gets a fresh one in every case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EchoFault {
    /// There is none.
    Missing,
    /// Not ours: another length, another address, another start of the broker, or made up.
    Foreign,
    /// Older than the window.
    Stale,
}

/// Makes and checks Echo values.
///
/// The time inside is wall-clock time, since it becomes a token's `iat`; but it is counted with the monotonic clock
/// from an anchor, so a step of the wall clock can not make an old value fresh. When the two run apart, the anchor
/// moves and the key with it: all values out there are void and their holders get a fresh one.
pub struct EchoKey {
    key: [u8; 32],
    anchor_now: Millis,
    anchor_wall: UnixTime,
}

impl EchoKey {
    /// `key` is random and new at every start: values of an earlier start are then void.
    #[must_use]
    pub fn new(key: [u8; 32], now: Millis, wall: UnixTime) -> Self {
        Self {
            key,
            anchor_now: now,
            anchor_wall: wall,
        }
    }

    /// A value for this peer. Takes `&mut self` because the anchor may have to move.
    pub fn issue(&mut self, peer: SocketAddr, now: Millis, wall: UnixTime) -> [u8; ECHO_LEN] {
        let time = self.time(now, wall).to_be_bytes();
        let mut echo = [0; ECHO_LEN];
        echo[..TIME_LEN].copy_from_slice(&time);
        echo[TIME_LEN..].copy_from_slice(&self.mac(time, peer));
        echo
    }

    /// The time at which this value was made for this peer.
    ///
    /// # Errors
    /// It was not, or too long ago.
    pub fn check(
        &mut self,
        echo: Option<&[u8]>,
        peer: SocketAddr,
        now: Millis,
        wall: UnixTime,
    ) -> Result<UnixTime, EchoFault> {
        let present = self.time(now, wall);
        let echo = echo.ok_or(EchoFault::Missing)?;
        let echo: &[u8; ECHO_LEN] = echo.try_into().map_err(|_| EchoFault::Foreign)?;
        let (time, mac) = echo.split_at(TIME_LEN);
        let time: [u8; TIME_LEN] = time.try_into().map_err(|_| EchoFault::Foreign)?;
        if !bool::from(self.mac(time, peer).ct_eq(mac)) {
            return Err(EchoFault::Foreign);
        }
        let made = u32::from_be_bytes(time);
        match present.checked_sub(made) {
            Some(age) if age <= ECHO_WINDOW_S => Ok(UnixTime(u64::from(made))),
            _ => Err(EchoFault::Stale),
        }
    }

    /// The present in the Echo's time.
    fn time(&mut self, now: Millis, wall: UnixTime) -> u32 {
        let mut counted = self.counted(now);
        if counted.abs_diff(wall.0) > CLOCK_STEP_MAX_S {
            // One way only: whoever learns the new key can not make values of the old.
            self.key = hmac(&self.key, &[b"keygate coap echo: the clock moved"]);
            self.anchor_now = now;
            self.anchor_wall = wall;
            counted = self.counted(now);
        }
        // Until 2106.
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    fn counted(&self, now: Millis) -> u64 {
        let elapsed_s = now.0.saturating_sub(self.anchor_now.0) / 1000;
        self.anchor_wall.0.saturating_add(elapsed_s)
    }

    /// An IPv4 address has 4 bytes and an IPv6 address 16, so no two peers share an input.
    fn mac(&self, time: [u8; TIME_LEN], peer: SocketAddr) -> [u8; MAC_LEN] {
        let port = peer.port().to_be_bytes();
        let mac = match peer.ip().to_canonical() {
            IpAddr::V4(ip) => hmac(&self.key, &[&time, &ip.octets(), &port]),
            IpAddr::V6(ip) => hmac(&self.key, &[&time, &ip.octets(), &port]),
        };
        let mut short = [0; MAC_LEN];
        short.copy_from_slice(&mac[..MAC_LEN]);
        short
    }
}

impl std::fmt::Debug for EchoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EchoKey").finish_non_exhaustive()
    }
}

impl Drop for EchoKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixTime = UnixTime(1000);

    fn vectors() -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../protocol/vectors/standards-vectors.json"
        )))
        .unwrap()["coap_echo"]
            .clone()
    }

    fn hex(text: &serde_json::Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    fn key() -> EchoKey {
        let key = std::array::from_fn(|i| i as u8);
        EchoKey::new(key, Millis(0), WALL)
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn value_is_that_of_the_vector() {
        let vectors = vectors();
        assert_eq!(hex(&vectors["mac_key"]), key().key);
        let echo = key().issue(peer("192.0.2.1:40000"), Millis(0), WALL);
        assert_eq!(echo.to_vec(), hex(&vectors["echo"]));
    }

    #[test]
    fn counts_for_its_peer_and_no_other() {
        let here = peer("192.0.2.1:40000");
        let mut key = key();
        let echo = key.issue(here, Millis(0), WALL);
        assert_eq!(key.check(Some(&echo), here, Millis(0), WALL), Ok(WALL));
        for other in [
            "192.0.2.1:40001",
            "192.0.2.2:40000",
            "[2001:db8::1]:40000",
            "[::c000:201]:40000",
        ] {
            let found = key.check(Some(&echo), peer(other), Millis(0), WALL);
            assert_eq!(found, Err(EchoFault::Foreign), "{other}");
        }
    }

    #[test]
    fn mapped_address_is_the_ipv4_address() {
        let mut key = key();
        let echo = key.issue(peer("192.0.2.1:40000"), Millis(0), WALL);
        let mapped = peer("[::ffff:192.0.2.1]:40000");
        assert_eq!(key.check(Some(&echo), mapped, Millis(0), WALL), Ok(WALL));
    }

    #[test]
    fn counts_for_the_window_and_no_longer() {
        let here = peer("[2001:db8::1]:5683");
        let mut key = key();
        let echo = key.issue(here, Millis(0), WALL);
        let last = (Millis(30_999), UnixTime(1030));
        assert_eq!(key.check(Some(&echo), here, last.0, last.1), Ok(WALL));
        let after = (Millis(31_000), UnixTime(1031));
        assert_eq!(
            key.check(Some(&echo), here, after.0, after.1),
            Err(EchoFault::Stale)
        );
    }

    #[test]
    fn any_flipped_bit_makes_it_foreign() {
        let here = peer("192.0.2.1:40000");
        let mut key = key();
        let echo = key.issue(here, Millis(0), WALL);
        for bit in 0..ECHO_LEN * 8 {
            let mut bent = echo;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                key.check(Some(&bent), here, Millis(0), WALL),
                Err(EchoFault::Foreign)
            );
        }
        for other in [&echo[..11], &[], &[echo.as_slice(), &[0]].concat()] {
            assert_eq!(
                key.check(Some(other), here, Millis(0), WALL),
                Err(EchoFault::Foreign)
            );
        }
        assert_eq!(
            key.check(None, here, Millis(0), WALL),
            Err(EchoFault::Missing)
        );
    }

    #[test]
    fn step_of_the_wall_clock_back_makes_no_old_value_fresh() {
        let here = peer("192.0.2.1:40000");
        let mut key = key();
        let echo = key.issue(here, Millis(50_000), UnixTime(1050));
        // The clock is set back by a thousand seconds, and later shows the same time again.
        let back = key.issue(here, Millis(60_000), UnixTime(60));
        assert_eq!(back[..4], 60_u32.to_be_bytes());
        let again = (Millis(1_050_000), UnixTime(1050));
        assert_eq!(
            key.check(Some(&echo), here, again.0, again.1),
            Err(EchoFault::Foreign)
        );
    }

    #[test]
    fn wall_clock_that_was_wrong_at_the_start_is_followed() {
        let here = peer("192.0.2.1:40000");
        let mut key = EchoKey::new([7; 32], Millis(0), UnixTime(0));
        let set = UnixTime(1_900_000_000);
        let echo = key.issue(here, Millis(5_000), set);
        assert_eq!(key.check(Some(&echo), here, Millis(5_500), set), Ok(set));
    }

    #[test]
    fn second_that_ticks_between_the_clocks_voids_nothing() {
        let here = peer("192.0.2.1:40000");
        let mut key = key();
        let echo = key.issue(here, Millis(0), WALL);
        for (ms, wall) in [(10, 1001), (999, 1001), (1000, 1000), (1999, 1003)] {
            let found = key.check(Some(&echo), here, Millis(ms), UnixTime(wall));
            assert_eq!(found, Ok(WALL), "{ms} ms, {wall} s");
        }
    }
}
