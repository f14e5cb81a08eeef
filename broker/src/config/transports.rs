//! What lies below MQTT: listeners, TLS, WebSocket, proxies.
use super::address::parse_address;
use super::checked::{Config, Flags};
use super::error::{ConfigError, Place};
use super::raw::Given;
use crate::authn::{AddressRange, AddressRanges};
use crate::telemetry::event::Listener;
use keygate_protocol::login::BindingPolicy;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Who ends TLS in front of the plain listeners.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainTls {
    /// Nobody: what they carry can be read on its way.
    #[default]
    None,
    /// A proxy, and nobody else can reach them.
    Terminated,
}

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum TlsVersion {
    /// With the extended master secret (RFC 7627) only.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether a `kg-ed25519` proof covers the TLS channel, on listeners that speak TLS themselves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// It must.
    Exporter,
    /// It must not.
    None,
    /// As the device is configured.
    #[default]
    Optional,
}

impl From<Binding> for BindingPolicy {
    fn from(binding: Binding) -> Self {
        match binding {
            Binding::Exporter => Self::Exporter,
            Binding::None => Self::None,
            Binding::Optional => Self::Optional,
        }
    }
}

/// Where MQTT is spoken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MqttListeners {
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) mqtts: Option<SocketAddr>,
    pub(super) ws: Option<SocketAddr>,
    pub(super) wss: Option<SocketAddr>,
}

impl MqttListeners {
    /// What is spoken, and where, in the order of the settings.
    pub fn each(&self) -> impl Iterator<Item = (Listener, SocketAddr)> {
        [
            (Listener::Mqtt, self.mqtt),
            (Listener::Mqtts, self.mqtts),
            (Listener::Ws, self.ws),
            (Listener::Wss, self.wss),
        ]
        .into_iter()
        .filter_map(|(listener, address)| Some((listener, address?)))
    }
}

/// The certificate that TLS listeners present, and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePaths {
    /// The chain, PEM, the server's first.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Given {
    pub(super) fn listener(
        &self,
        key: &'static str,
        flag: Option<SocketAddr>,
        name: Option<&String>,
        errors: &mut Vec<ConfigError>,
    ) -> Option<SocketAddr> {
        flag.or_else(|| match parse_address(name?) {
            Ok(address) => Some(address),
            Err(error) => {
                errors.push(self.error("listeners", key, format!("`{key}`: {error}")));
                None
            }
        })
    }

    /// Both or none: a certificate without its key is of no use.
    pub(super) fn certificate(
        &self,
        flags: &Flags,
        errors: &mut Vec<ConfigError>,
    ) -> Option<CertificatePaths> {
        let cert = flags.cert.as_ref().or(self.raw.tls.cert.as_ref());
        let key = flags.key.as_ref().or(self.raw.tls.key.as_ref());
        match (cert, key) {
            (Some(cert), Some(key)) => Some(CertificatePaths {
                cert: cert.clone(),
                key: key.clone(),
            }),
            (None, None) => None,
            (Some(_), None) => {
                errors.push(self.half("cert", "--cert", flags.cert.is_some(), "its private key"));
                None
            }
            (None, Some(_)) => {
                errors.push(self.half("key", "--key", flags.key.is_some(), "its certificate"));
                None
            }
        }
    }

    fn half(
        &self,
        key: &'static str,
        flag: &'static str,
        by_flag: bool,
        what: &str,
    ) -> ConfigError {
        let other = if key == "cert" { "key" } else { "cert" };
        let message =
            format!("{what} is missing: add --{other} FILE (or `{other} = FILE` under [tls])");
        match by_flag {
            true => ConfigError {
                place: Place::Flag(flag),
                message,
            },
            false => self.error("tls", key, message),
        }
    }

    /// Whose word about the address of a client is taken.
    pub(super) fn trusted(&self, errors: &mut Vec<ConfigError>) -> AddressRanges {
        let mut ranges = Vec::new();
        for (index, range) in self.raw.listeners.proxies.iter().enumerate() {
            match range.parse::<AddressRange>() {
                Ok(range) => ranges.push(range),
                Err(fault) => {
                    let mut error =
                        self.error("listeners", "proxies", format!("`proxies`: {fault}"));
                    if let Some(place) = self.place_of_item("listeners", "proxies", index) {
                        error.place = place;
                    }
                    errors.push(error);
                }
            }
        }
        ranges.into_iter().collect()
    }

    /// A plain listener that others than this machine reach is opened only on purpose.
    pub(super) fn check_plain(
        &self,
        config: &Config,
        flags: &Flags,
        errors: &mut Vec<ConfigError>,
    ) {
        let is_terminated = config.plain_tls == PlainTls::Terminated;
        let listeners = [
            (
                "mqtt",
                "--mqtt",
                flags.mqtt,
                config.mqtt.mqtt,
                is_terminated,
            ),
            ("ws", "--ws", flags.ws, config.mqtt.ws, is_terminated),
            ("coap", "--coap", flags.coap, config.coap, false),
        ];
        for (key, flag_name, flag, address, is_covered) in listeners {
            let Some(address) = address.filter(|address| !address.ip().is_loopback()) else {
                continue;
            };
            if config.allow_plain || is_covered {
                continue;
            }
            let message = format!(
                "{address} is reached from other machines, and `{key}` does not encrypt: add --allow-plain (or \
                 `allow_plain = true` under [listeners]) if that network is closed, or listen on 127.0.0.1"
            );
            errors.push(match flag {
                Some(_) => ConfigError {
                    place: Place::Flag(flag_name),
                    message,
                },
                None => self.error("listeners", key, message),
            });
        }
    }

    /// Whoever proves nothing comes from this machine.
    pub(super) fn check_anonymous(&self, config: &Config, errors: &mut Vec<ConfigError>) {
        if config.anonymous.is_none() {
            return;
        }
        for (_, address) in config.mqtt.each().filter(|(_, a)| !a.ip().is_loopback()) {
            let message = format!(
                "clients that prove nothing are let in from this machine only, and MQTT listens on {address}: take \
                 [anonymous] out, or listen on 127.0.0.1"
            );
            errors.push(self.error("", "anonymous", message));
        }
        if !config.proxies.is_empty() {
            let message = "clients that prove nothing are let in from this machine only, and behind a proxy anybody \
                           may be: take [anonymous] out, or `proxies` under [listeners]";
            errors.push(self.error("", "anonymous", message.to_owned()));
        }
    }
}
