//! Listener addresses as people write them.

use std::net::{Ipv4Addr, SocketAddr};
use thiserror::Error;

/// The text is no address to listen on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "`{given}` is no listener address; write ADDRESS:PORT, such as {example} or [::1]:1883 (port 0 picks a free one)"
)]
pub struct AddressError {
    given: String,
    example: String,
}

/// The address that a text names: `ADDRESS:PORT`; `localhost` is the IPv4 loopback address. Other host names are not
/// looked up: a listener must not move when a name server is changed.
///
/// ```
/// use keygate_broker::config::parse_address;
///
/// assert_eq!(parse_address("localhost:1883").unwrap(), "127.0.0.1:1883".parse().unwrap());
/// assert!(parse_address("1883").unwrap_err().to_string().contains("127.0.0.1:1883"));
/// ```
pub fn parse_address(text: &str) -> Result<SocketAddr, AddressError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = |text: &str| text.parse::<u16>().ok();
    if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let meant = port(text.strip_prefix(':').unwrap_or(text)).unwrap_or(1883);
    Err(AddressError {
        given: text.to_owned(),
        example: format!("127.0.0.1:{meant}"),
    })
}
