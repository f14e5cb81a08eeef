//! Where the broker is and who it is.

use std::net::{SocketAddr, ToSocketAddrs};

use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::Id;
use serde::{Deserialize, Serialize};

use crate::enrol::{hex, unhex};

/// Where MQTT is if nobody says.
const MQTT_PORT: u16 = 1883;
/// Where CoAP is if nobody says.
const COAP_PORT: u16 = 5683;

/// What the report calls a broker that nobody named.
const UNNAMED: &str = "broker";

/// A broker: its addresses, its name, and the key that it proves itself with.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where MQTT listens.
    pub mqtt: SocketAddr,
    /// Where CoAP listens; without it no gateway runs.
    pub coap: Option<SocketAddr>,
    /// The name that devices are configured with: they refuse any other.
    pub broker_id: String,
    /// Its identity key. With it, devices demand the broker's proof and gateways a signed answer.
    pub identity_key: Option<PublicKey>,
}

/// What is known about a target so far: the ready line, then what the command line says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Hints {
    /// Host and port, or an `mqtt://` URL.
    pub mqtt: Option<String>,
    /// Host and port, or a `coap://` URL.
    pub coap: Option<String>,
    /// The broker's name.
    pub broker_id: Option<String>,
    /// 64 hex digits.
    pub identity_key: Option<String>,
}

/// Why a target cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Standard input ended without a ready line.
    #[error(
        "no ready line arrived on standard input; pipe the broker into this: \
         `keygate serve | device-sim run --builtin smoke --target -`"
    )]
    NoReadyLine,
    /// A line on standard input is no ready line.
    #[error("this is not the ready line of `keygate serve`: {0}")]
    NotReady(String),
    /// Nobody said what the broker is called.
    #[error(
        "the broker's id is needed: pass --broker-id NAME, or --target - and pipe `keygate serve` in"
    )]
    NoBrokerId,
    /// The broker's id breaks the rules of ids.
    #[error("\"{0}\" is not a broker id")]
    BadBrokerId(String),
    /// The identity key is no key.
    #[error("--identity-key takes 64 hex digits of an Ed25519 public key, not \"{0}\"")]
    BadIdentityKey(String),
    /// An address cannot be read or found.
    #[error("cannot use the address \"{0}\": {1}")]
    BadAddress(String, &'static str),
}

impl Hints {
    /// Reads the line that `keygate serve` prints when all its listeners accept.
    ///
    /// # Errors
    /// When it is another line.
    ///
    /// ```
    /// use device_sim::target::Hints;
    ///
    /// let line = r#"{"event":"ready","broker_id":"kg-7f3a9c","pid":7,"mqtt":"127.0.0.1:1883","coap":"127.0.0.1:5683"}"#;
    /// let target = Hints::from_ready_line(line)?.resolve()?;
    /// assert_eq!(target.broker_id, "kg-7f3a9c");
    /// # Ok::<(), device_sim::target::TargetError>(())
    /// ```
    pub fn from_ready_line(line: &str) -> Result<Self, TargetError> {
        #[derive(Deserialize)]
        struct Ready {
            event: String,
            #[serde(flatten)]
            hints: Hints,
        }
        let shown = || line.trim().chars().take(120).collect::<String>();
        let ready: Ready =
            serde_json::from_str(line).map_err(|_| TargetError::NotReady(shown()))?;
        if ready.event != "ready" {
            return Err(TargetError::NotReady(shown()));
        }
        Ok(ready.hints)
    }

    /// These hints, and `other` where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mqtt: self.mqtt.or(other.mqtt),
            coap: self.coap.or(other.coap),
            broker_id: self.broker_id.or(other.broker_id),
            identity_key: self.identity_key.or(other.identity_key),
        }
    }

    /// Turns the hints into a target for a fleet that logs in with passwords: no device asks what the broker is called.
    ///
    /// # Errors
    /// Says which hint cannot be used.
    pub fn resolve_unnamed(mut self) -> Result<Target, TargetError> {
        self.broker_id.get_or_insert_with(|| UNNAMED.to_owned());
        self.resolve()
    }

    /// Turns the hints into a target; looks host names up.
    ///
    /// # Errors
    /// Says which hint is missing or cannot be used.
    pub fn resolve(self) -> Result<Target, TargetError> {
        let broker_id = self.broker_id.ok_or(TargetError::NoBrokerId)?;
        if Id::new(&broker_id).is_err() {
            return Err(TargetError::BadBrokerId(broker_id));
        }
        let mqtt = address(
            self.mqtt.as_deref().unwrap_or("127.0.0.1"),
            "mqtt",
            MQTT_PORT,
        )?;
        let coap = self
            .coap
            .as_deref()
            .map(|text| address(text, "coap", COAP_PORT))
            .transpose()?;
        let identity_key = self
            .identity_key
            .map(|text| identity_key(&text))
            .transpose()?;
        Ok(Target {
            mqtt,
            coap,
            broker_id,
            identity_key,
        })
    }
}

impl Target {
    /// The identity key as the ready line has it.
    #[must_use]
    pub fn identity_key_hex(&self) -> Option<String> {
        self.identity_key.as_ref().map(|key| hex(key.as_bytes()))
    }
}

fn identity_key(text: &str) -> Result<PublicKey, TargetError> {
    unhex::<32>(text)
        .and_then(|bytes| PublicKey::from_bytes(&bytes).ok())
        .ok_or_else(|| TargetError::BadIdentityKey(text.to_owned()))
}

/// Reads `host`, `host:port` or `scheme://host:port`.
fn address(text: &str, scheme: &str, port: u16) -> Result<SocketAddr, TargetError> {
    let bad = |why| TargetError::BadAddress(text.to_owned(), why);
    let rest = match text.split_once("://") {
        Some((found, rest)) if found == scheme => rest.trim_end_matches('/'),
        Some(_) => {
            return Err(bad(
                "its scheme is not one that this option takes (mqtt:// or coap://)",
            ));
        }
        None => text,
    };
    if let Ok(exact) = rest.parse::<SocketAddr>() {
        return Ok(exact);
    }
    let found = if rest.parse::<std::net::Ipv6Addr>().is_ok() || !rest.contains(':') {
        (rest, port).to_socket_addrs()
    } else {
        rest.to_socket_addrs()
    };
    let mut found = found.map_err(|_| bad("no such host, or the port is missing or wrong"))?;
    found.next().ok_or_else(|| bad("the name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_and_the_command_line_wins() {
        let line = r#"{"event":"ready","broker_id":"kg-7f3a9c","pid":1,"mqtt":"127.0.0.1:2883","coap":"127.0.0.1:6683","http":"127.0.0.1:8080","identity_key":"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"}"#;
        let ready = Hints::from_ready_line(line).expect("ready");
        let said = Hints {
            mqtt: Some("mqtt://127.0.0.1:9".to_owned()),
            ..Hints::default()
        };
        let target = said.or(ready).resolve().expect("complete");
        assert_eq!(target.mqtt.to_string(), "127.0.0.1:9");
        assert_eq!(
            target.coap.map(|address| address.to_string()).as_deref(),
            Some("127.0.0.1:6683")
        );
        assert_eq!(target.broker_id, "kg-7f3a9c");
        assert!(
            target
                .identity_key_hex()
                .is_some_and(|hex| hex.starts_with("3d4017"))
        );
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "hello", "{}", r#"{"event":"stopped","broker_id":"x"}"#] {
            assert!(
                matches!(Hints::from_ready_line(line), Err(TargetError::NotReady(_))),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(
            Hints::default().resolve().map(|_| ()),
            Err(TargetError::NoBrokerId)
        );
        let hints = |broker_id: &str| Hints {
            broker_id: Some(broker_id.to_owned()),
            ..Hints::default()
        };
        assert_eq!(
            hints("a b").resolve().map(|_| ()),
            Err(TargetError::BadBrokerId("a b".to_owned()))
        );
        let key = Hints {
            identity_key: Some("00".to_owned()),
            ..hints("kg")
        };
        assert_eq!(
            key.resolve().map(|_| ()),
            Err(TargetError::BadIdentityKey("00".to_owned()))
        );
        let scheme = Hints {
            mqtt: Some("http://127.0.0.1".to_owned()),
            ..hints("kg")
        };
        assert!(matches!(scheme.resolve(), Err(TargetError::BadAddress(..))));
    }

    #[test]
    fn addresses_come_with_and_without_port_and_scheme() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1:1883"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("mqtt://127.0.0.1", "127.0.0.1:1883"),
            ("mqtt://127.0.0.1:9/", "127.0.0.1:9"),
            ("::1", "[::1]:1883"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(
                address(text, "mqtt", MQTT_PORT).expect(text).to_string(),
                expected
            );
        }
    }
}
