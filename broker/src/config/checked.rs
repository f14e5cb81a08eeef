//! What the file and the flags mean, checked.

use super::address::parse_address;
use super::error::{ConfigError, ConfigErrors, Place};
use super::raw::Given;
use crate::limits::Limits;
use crate::telemetry::log::LEVEL_DEFAULT;
use crate::telemetry::trail::{FILE_BYTES_LEAST, Keep};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Where MQTT listens when nothing was said.
const MQTT_DEFAULT: SocketAddr = loopback(1883);
/// Where CoAP listens when nothing was said.
const COAP_DEFAULT: SocketAddr = loopback(5683);
/// More shards than any machine has cores.
const SHARDS_MAX: usize = 1_024;
/// More files than anybody reads.
const AUDIT_FILES_MAX: u32 = 1_000;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// How often one assertion logs in.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionReuse {
    /// Until it expires on a loopback listener, once on any other plain one.
    #[default]
    Auto,
    /// Once.
    Once,
    /// Until it expires: whoever reads the traffic of a plain listener can use it as long.
    UntilExpiry,
}

/// What the command line says; it goes over the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// `--mqtt`.
    pub mqtt: Option<SocketAddr>,
    /// `--coap`.
    pub coap: Option<SocketAddr>,
    /// `--allow-plain`.
    pub allow_plain: bool,
    /// `--log`, or its environment variable.
    pub log: Option<String>,
}

/// Every setting of a broker. Only [`Given::check`] makes one, so each value in it is valid and safe to use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) coap: Option<SocketAddr>,
    pub(super) allow_plain: bool,
    pub(super) shards: usize,
    pub(super) log: String,
    pub(super) assertion_reuse: AssertionReuse,
    pub(super) audit: Keep,
    pub(super) limits: Limits,
}

impl Config {
    /// Where MQTT over plain TCP listens.
    #[must_use]
    pub fn mqtt(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// Where CoAP over plain UDP listens.
    #[must_use]
    pub fn coap(&self) -> Option<SocketAddr> {
        self.coap
    }

    /// How many shards run: as many as was said, or one a core.
    #[must_use]
    pub fn shards(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        }
    }

    /// What is logged.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// How often an assertion logs in.
    #[must_use]
    pub fn assertion_reuse(&self) -> AssertionReuse {
        self.assertion_reuse
    }

    /// How much of the audit trail is kept.
    #[must_use]
    pub fn audit(&self) -> Keep {
        self.audit
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl Given {
    /// Lays the flags over the file and checks everything; the errors name all that is wrong.
    ///
    /// Without any listener in either, MQTT and CoAP listen on the loopback address.
    pub fn check(&self, flags: &Flags) -> Result<Config, ConfigErrors> {
        let raw = &self.raw;
        let mut errors = Vec::new();
        let mut listener = |key, flag: Option<SocketAddr>, name: Option<&String>| {
            flag.or_else(|| match parse_address(name?) {
                Ok(address) => Some(address),
                Err(error) => {
                    errors.push(self.error("listeners", key, error.to_string()));
                    None
                }
            })
        };
        let mut mqtt = listener("mqtt", flags.mqtt, raw.listeners.mqtt.as_ref());
        let mut coap = listener("coap", flags.coap, raw.listeners.coap.as_ref());
        if mqtt.is_none() && coap.is_none() && errors.is_empty() {
            (mqtt, coap) = (Some(MQTT_DEFAULT), Some(COAP_DEFAULT));
        }
        let config = Config {
            mqtt,
            coap,
            allow_plain: flags.allow_plain || raw.listeners.allow_plain,
            shards: raw.shards.unwrap_or(0),
            log: flags
                .log
                .as_ref()
                .or(raw.log.as_ref())
                .map_or(LEVEL_DEFAULT, String::as_str)
                .to_owned(),
            assertion_reuse: raw.login.assertion_reuse,
            audit: raw.audit,
            limits: raw.limits.clone(),
        };
        self.check_plain(&config, flags, &mut errors);
        self.check_bounds(&config, &mut errors);
        if errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(errors))
        }
    }

    /// A plain listener that others than this machine reach is opened only on purpose.
    fn check_plain(&self, config: &Config, flags: &Flags, errors: &mut Vec<ConfigError>) {
        let listeners = [
            ("mqtt", "--mqtt", flags.mqtt, config.mqtt),
            ("coap", "--coap", flags.coap, config.coap),
        ];
        for (key, flag_name, flag, address) in listeners {
            let Some(address) = address.filter(|address| !address.ip().is_loopback()) else {
                continue;
            };
            if config.allow_plain {
                continue;
            }
            let message = format!(
                "{address} is reached from other machines, and this listener does not encrypt: add --allow-plain (or \
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

    fn check_bounds(&self, config: &Config, errors: &mut Vec<ConfigError>) {
        let mut bound =
            |table: &'static str, key: &'static str, value: u64, least: u64, most: u64| {
                if !(least..=most).contains(&value) {
                    let message =
                        format!("`{key}` is {value}; it must be between {least} and {most}");
                    errors.push(self.error(table, key, message));
                }
            };
        bound("", "shards", config.shards as u64, 0, SHARDS_MAX as u64);
        let audit = &config.audit;
        bound(
            "audit",
            "file_bytes_max",
            audit.file_bytes_max,
            FILE_BYTES_LEAST,
            1 << 40,
        );
        bound(
            "audit",
            "files_max",
            audit.files_max.into(),
            2,
            AUDIT_FILES_MAX.into(),
        );
        if let Some((key, value, least, most)) = config.limits.out_of_range() {
            bound("limits", key, value, least, most);
        }
    }

    fn error(&self, table: &str, key: &str, message: String) -> ConfigError {
        let whole_file = || Place::File {
            name: self.name.clone(),
            line: 0,
        };
        ConfigError {
            place: self.place(table, key).unwrap_or_else(whole_file),
            message,
        }
    }
}
