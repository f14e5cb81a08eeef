//! Where the broker is and who it is.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::Id;
use keygate_protocol::login::Binding;
use serde::{Deserialize, Serialize};

use crate::enrol::{hex, unhex};
use crate::tls::{Tls, TlsError};

/// Where MQTT is if nobody says.
const MQTT_PORT: u16 = 1883;
/// Where MQTT over TLS is if nobody says.
const MQTTS_PORT: u16 = 8883;
/// What a URL begins with if MQTT is over TLS there.
const MQTTS: &str = "mqtts://";
/// Where CoAP is if nobody says.
const COAP_PORT: u16 = 5683;

/// What the report calls a broker that nobody named.
const UNNAMED: &str = "broker";

/// A broker: its addresses, its name, and the key that it proves itself with.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where MQTT listens.
    pub mqtt: SocketAddr,
    /// How TLS is spoken there; without it MQTT is plain.
    pub tls: Option<Tls>,
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
    /// Host and port, or an `mqtt://` or `mqtts://` URL.
    pub mqtt: Option<String>,
    /// Where MQTT over TLS is: in the ready line, and used only [over TLS](Hints::over_tls).
    pub mqtts: Option<String>,
    /// A file of CA certificates, PEM.
    pub ca: Option<PathBuf>,
    /// Whether logins are bound to their TLS channels; they are if nobody says.
    #[serde(skip)]
    pub binding: Option<Binding>,
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
    /// Over TLS, and nobody to trust.
    #[error(
        "{0} needs the CA that signed the broker's certificate: pass --ca FILE (Keygate's own is DATA/tls/ca.pem), \
         or --tls with --target -, whose ready line names it"
    )]
    NoCa(String),
    /// The CA file is no use.
    #[error("--ca {}: {reason}", file.display())]
    BadCa {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The ready line has no TLS listener.
    #[error(
        "--tls takes the address from the ready line, which names no TLS listener: start the broker with \
         `keygate serve --mqtts 127.0.0.1:8883`, or pass --mqtt mqtts://HOST:PORT"
    )]
    NoTlsListener,
    /// Something that makes sense over TLS only.
    #[error("{0} is for MQTT over TLS: pass --mqtt mqtts://HOST:PORT, or --tls with --target -")]
    NotOverTls(&'static str),
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
            mqtts: self.mqtts.or(other.mqtts),
            ca: self.ca.or(other.ca),
            binding: self.binding.or(other.binding),
            coap: self.coap.or(other.coap),
            broker_id: self.broker_id.or(other.broker_id),
            identity_key: self.identity_key.or(other.identity_key),
        }
    }

    /// MQTT over TLS, where the ready line says that it is.
    ///
    /// # Errors
    /// When it says nothing about that.
    pub fn over_tls(self) -> Result<Self, TargetError> {
        let mqtts = self.mqtts.as_ref().ok_or(TargetError::NoTlsListener)?;
        Ok(Self {
            mqtt: Some(format!("{MQTTS}{mqtts}")),
            ..self
        })
    }

    /// Whether MQTT is to be spoken over TLS.
    #[must_use]
    pub fn is_over_tls(&self) -> bool {
        self.mqtt
            .as_ref()
            .is_some_and(|mqtt| mqtt.starts_with(MQTTS))
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
        let is_over_tls = self.is_over_tls();
        let broker_id = self.broker_id.ok_or(TargetError::NoBrokerId)?;
        if Id::new(&broker_id).is_err() {
            return Err(TargetError::BadBrokerId(broker_id));
        }
        let text = self.mqtt.as_deref().unwrap_or("127.0.0.1");
        let (scheme, port) = if is_over_tls {
            ("mqtts", MQTTS_PORT)
        } else {
            ("mqtt", MQTT_PORT)
        };
        let (mqtt, host) = place(text, scheme, port)?;
        let tls = if is_over_tls {
            let file = self.ca.ok_or_else(|| TargetError::NoCa(text.to_owned()))?;
            let mut tls = trust(&file, &host)?;
            tls.binding = self.binding.unwrap_or(tls.binding);
            Some(tls)
        } else {
            None
        };
        let coap = self
            .coap
            .as_deref()
            .map(|text| place(text, "coap", COAP_PORT).map(|(coap, _)| coap))
            .transpose()?;
        let identity_key = self
            .identity_key
            .map(|text| identity_key(&text))
            .transpose()?;
        Ok(Target {
            mqtt,
            tls,
            coap,
            broker_id,
            identity_key,
        })
    }
}

impl Target {
    /// Whether logins are bound to their channel.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.tls.as_ref().map_or(Binding::None, |tls| tls.binding)
    }

    /// Where MQTT is; over TLS as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = self.tls.as_ref().map_or("", |_| MQTTS);
        format!("{scheme}{}", self.mqtt)
    }

    /// The identity key as the ready line has it.
    #[must_use]
    pub fn identity_key_hex(&self) -> Option<String> {
        self.identity_key.as_ref().map(|key| hex(key.as_bytes()))
    }
}

fn trust(file: &Path, host: &str) -> Result<Tls, TargetError> {
    let bad = |reason: String| TargetError::BadCa {
        file: file.to_owned(),
        reason,
    };
    let pem = fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    Tls::new(&pem, host).map_err(|error| match error {
        TlsError::BadName(name) => {
            TargetError::BadAddress(name, "no certificate can be for such a name")
        }
        error => bad(error.to_string()),
    })
}

fn identity_key(text: &str) -> Result<PublicKey, TargetError> {
    unhex::<32>(text)
        .and_then(|bytes| PublicKey::from_bytes(&bytes).ok())
        .ok_or_else(|| TargetError::BadIdentityKey(text.to_owned()))
}

/// Reads `host`, `host:port` or `scheme://host:port`: the address, and the host as it was called.
fn place(text: &str, scheme: &str, port: u16) -> Result<(SocketAddr, String), TargetError> {
    let bad = |why| TargetError::BadAddress(text.to_owned(), why);
    let rest = match text.split_once("://") {
        Some((found, rest)) if found == scheme => rest.trim_end_matches('/'),
        Some(_) => {
            return Err(bad(
                "its scheme is not one that this option takes (mqtt://, mqtts:// or coap://)",
            ));
        }
        None => text,
    };
    if let Ok(exact) = rest.parse::<SocketAddr>() {
        return Ok((exact, exact.ip().to_string()));
    }
    let (host, found) = match rest.rsplit_once(':') {
        Some((host, _)) if rest.parse::<std::net::Ipv6Addr>().is_err() => {
            (host, rest.to_socket_addrs())
        }
        _ => (rest, (rest, port).to_socket_addrs()),
    };
    let mut found = found.map_err(|_| bad("no such host, or the port is missing or wrong"))?;
    let address = found.next().ok_or_else(|| bad("the name has no address"))?;
    Ok((address, host.to_owned()))
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
        for (text, expected, called) in [
            ("127.0.0.1", "127.0.0.1:1883", "127.0.0.1"),
            ("127.0.0.1:9", "127.0.0.1:9", "127.0.0.1"),
            ("mqtt://127.0.0.1", "127.0.0.1:1883", "127.0.0.1"),
            ("mqtt://127.0.0.1:9/", "127.0.0.1:9", "127.0.0.1"),
            ("::1", "[::1]:1883", "::1"),
            ("[::1]:9", "[::1]:9", "::1"),
        ] {
            let (address, host) = place(text, "mqtt", MQTT_PORT).expect(text);
            assert_eq!(
                (address.to_string().as_str(), host.as_str()),
                (expected, called)
            );
        }
        let (_, host) = place("mqtt://localhost:9", "mqtt", MQTT_PORT).expect("it is there");
        assert_eq!(host, "localhost");
    }

    fn over_tls() -> Hints {
        let line = r#"{"event":"ready","broker_id":"kg","mqtt":"127.0.0.1:1","mqtts":"127.0.0.1:2","ca":"/nowhere/ca.pem"}"#;
        let ready = Hints::from_ready_line(line).expect("ready");
        ready.over_tls().expect("it has a TLS listener")
    }

    #[test]
    fn tls_comes_from_the_ready_line_only_when_it_is_asked_for() {
        let hints = over_tls();
        assert!(hints.is_over_tls());
        assert_eq!(hints.mqtt.as_deref(), Some("mqtts://127.0.0.1:2"));
        let refused = hints
            .resolve()
            .map(|_| ())
            .expect_err("there is no such file");
        assert!(
            matches!(&refused, TargetError::BadCa { file, .. } if file.ends_with("ca.pem")),
            "{refused}"
        );
        let plain = Hints {
            mqtt: Some("127.0.0.1:1".to_owned()),
            ..over_tls()
        };
        assert!(plain.resolve().expect("a target").tls.is_none());
        let nowhere = Hints::default().over_tls().map(|_| ());
        assert_eq!(nowhere, Err(TargetError::NoTlsListener));
    }

    #[test]
    fn tls_without_a_ca_is_refused_with_what_to_pass() {
        let hints = Hints {
            ca: None,
            ..over_tls()
        };
        let refused = hints.resolve().map(|_| ()).expect_err("nobody to trust");
        assert_eq!(refused, TargetError::NoCa("mqtts://127.0.0.1:2".to_owned()));
        let text = refused.to_string();
        assert!(
            text.contains("pass --ca FILE") && text.contains("DATA/tls/ca.pem"),
            "{text}"
        );
    }

    #[test]
    fn logins_over_tls_are_bound_unless_somebody_says_otherwise() {
        let directory = std::env::temp_dir().join(format!("device-sim-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("ca.pem");
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        let pem = params.self_signed(&key).expect("signs").pem();
        fs::write(&file, pem).expect("written");
        let target = |binding| {
            let ca = Some(file.clone());
            let hints = Hints {
                ca,
                binding,
                ..over_tls()
            };
            hints.resolve().expect("a target")
        };
        let bound = target(None);
        assert_eq!(bound.binding(), Binding::Exporter);
        assert_eq!(bound.url(), "mqtts://127.0.0.1:2");
        assert_eq!(target(Some(Binding::None)).binding(), Binding::None);
        fs::remove_dir_all(directory).expect("removed");
    }
}
