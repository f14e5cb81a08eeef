//! What the file and the flags mean, checked.

use super::engine::{Engine, UpstreamSettings};
use super::error::{ConfigError, ConfigErrors, Place};
use super::raw::Given;
use super::transports::{Binding, CertificatePaths, MqttListeners, PlainTls, TlsVersion};
use crate::authn::{AddressRanges, ClientIdRule};
use crate::authz::Pattern;
use crate::limits::Limits;
use crate::telemetry::log::LEVEL_DEFAULT;
use crate::telemetry::trail::{FILE_BYTES_LEAST, Keep};
use keygate_protocol::assertion::CONFIGURED_LIFE_S_MAX;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where MQTT listens when nothing was said.
const MQTT_DEFAULT: SocketAddr = loopback(1883);
/// Where CoAP listens when nothing was said.
const COAP_DEFAULT: SocketAddr = loopback(5683);
/// Seconds between two publications of `$SYS`, as in Mosquitto.
const SYS_INTERVAL_S: u64 = 10;
/// A day.
const SYS_INTERVAL_S_MAX: u64 = 86_400;
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

/// What SUBACK says of a filter that is not allowed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubscribeRefusal {
    /// 0x87, not authorized.
    #[default]
    NotAuthorized,
    /// 0x80, which tells nothing about why.
    Unspecified,
}

/// What becomes of an MQTT 3.1.1 client's publish that is not allowed: its PUBACK has no place for a code (3.1.1 §3.3.5).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishRefusal {
    /// The connection ends, so that the client notices.
    #[default]
    Close,
    /// It is acknowledged and goes nowhere; only the audit trail knows.
    Acknowledge,
}

/// Clients that prove nothing: topic filters that they may use, for every action, and of them those that they may not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Anonymous {
    /// What they may publish to, retain on, subscribe to, share and receive.
    pub allow: Vec<String>,
    /// What of it they may not. A wider subscription is granted without these topics.
    pub deny: Vec<String>,
}

/// What the command line says; it goes over the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// `--mqtt`.
    pub mqtt: Option<SocketAddr>,
    /// `--mqtts`.
    pub mqtts: Option<SocketAddr>,
    /// `--ws`.
    pub ws: Option<SocketAddr>,
    /// `--wss`.
    pub wss: Option<SocketAddr>,
    /// `--engine`.
    pub engine: Option<Engine>,
    /// `--upstream`, which may be there more than once.
    pub upstream: Vec<String>,
    /// `--cert`.
    pub cert: Option<PathBuf>,
    /// `--key`.
    pub key: Option<PathBuf>,
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
    pub(super) engine: Engine,
    pub(super) upstream: UpstreamSettings,
    pub(super) mqtt: MqttListeners,
    pub(super) plain_tls: PlainTls,
    pub(super) proxies: AddressRanges,
    pub(super) certificate: Option<CertificatePaths>,
    pub(super) tls_version: TlsVersion,
    pub(super) origins: Vec<String>,
    pub(super) binding: Binding,
    pub(super) coap: Option<SocketAddr>,
    pub(super) allow_plain: bool,
    pub(super) shards: usize,
    pub(super) log: String,
    pub(super) sys_interval_s: u64,
    pub(super) assertion_reuse: AssertionReuse,
    pub(super) assertion_ttl_max_s: u64,
    pub(super) client_id: ClientIdRule,
    pub(super) subscribe_refusal: SubscribeRefusal,
    pub(super) publish_refusal: PublishRefusal,
    pub(super) anonymous: Option<Anonymous>,
    pub(super) audit: Keep,
    pub(super) limits: Limits,
}

impl Config {
    /// What carries the messages of those who logged in.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The broker that sessions are relayed to, where one is.
    #[must_use]
    pub fn upstream(&self) -> &UpstreamSettings {
        &self.upstream
    }

    /// Where MQTT over plain TCP listens.
    #[must_use]
    pub fn mqtt(&self) -> Option<SocketAddr> {
        self.mqtt.mqtt
    }

    /// Where MQTT is spoken, over whatever.
    #[must_use]
    pub fn mqtt_listeners(&self) -> &MqttListeners {
        &self.mqtt
    }

    /// Who ends TLS in front of the plain listeners.
    #[must_use]
    pub fn plain_tls(&self) -> PlainTls {
        self.plain_tls
    }

    /// Whose word about the address of a client is taken: their connections must begin with a header of the PROXY
    /// protocol.
    pub(crate) fn proxies(&self) -> &AddressRanges {
        &self.proxies
    }

    /// What TLS listeners present; none is the certificate of the data directory.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificatePaths> {
        self.certificate.as_ref()
    }

    /// The oldest TLS that is spoken.
    #[must_use]
    pub fn tls_version(&self) -> TlsVersion {
        self.tls_version
    }

    /// Whether a `kg-ed25519` proof covers the TLS channel.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// Pages of which sites may connect over WebSocket; `*` is any.
    #[must_use]
    pub fn origins(&self) -> &[String] {
        &self.origins
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

    /// How often the broker publishes below `$SYS`; none if never.
    #[must_use]
    pub fn sys_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.sys_interval_s)).filter(|every| !every.is_zero())
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

    /// Longest life of an assertion with times, in seconds; with 0 only those over a challenge log in.
    #[must_use]
    pub fn assertion_ttl_max_s(&self) -> u64 {
        self.assertion_ttl_max_s
    }

    /// How the client id relates to the identity.
    #[must_use]
    pub fn client_id(&self) -> ClientIdRule {
        self.client_id
    }

    /// What becomes of a 3.1.1 client's publish that is not allowed.
    #[must_use]
    pub fn publish_refusal(&self) -> PublishRefusal {
        self.publish_refusal
    }

    /// What SUBACK says of a filter that is not allowed.
    #[must_use]
    pub fn subscribe_refusal(&self) -> SubscribeRefusal {
        self.subscribe_refusal
    }

    /// What clients may do that prove nothing; none are let in if this is `None`. The MQTT listener is on loopback then.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Anonymous> {
        self.anonymous.as_ref()
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
        let of_file = &raw.listeners;
        let mut listener =
            |key, flag, name: &Option<String>| self.listener(key, flag, name.as_ref(), &mut errors);
        let mut mqtt = MqttListeners {
            mqtt: listener("mqtt", flags.mqtt, &of_file.mqtt),
            mqtts: listener("mqtts", flags.mqtts, &of_file.mqtts),
            ws: listener("ws", flags.ws, &of_file.ws),
            wss: listener("wss", flags.wss, &of_file.wss),
        };
        let mut coap = listener("coap", flags.coap, &of_file.coap);
        if mqtt.each().next().is_none() && coap.is_none() && errors.is_empty() {
            (mqtt.mqtt, coap) = (Some(MQTT_DEFAULT), Some(COAP_DEFAULT));
        }
        let (engine, upstream) = self.engine(flags, &mut errors);
        let config = Config {
            engine,
            upstream,
            mqtt,
            coap,
            plain_tls: of_file.tls,
            proxies: self.trusted(&mut errors),
            certificate: self.certificate(flags, &mut errors),
            tls_version: raw.tls.min_version,
            origins: raw.websocket.origins.clone(),
            binding: raw.login.binding,
            allow_plain: flags.allow_plain || raw.listeners.allow_plain,
            shards: raw.shards.unwrap_or(0),
            log: flags
                .log
                .as_ref()
                .or(raw.log.as_ref())
                .map_or(LEVEL_DEFAULT, String::as_str)
                .to_owned(),
            sys_interval_s: raw.sys_interval_s.unwrap_or(SYS_INTERVAL_S),
            assertion_reuse: raw.login.assertion_reuse,
            assertion_ttl_max_s: raw.login.assertion_ttl_max_s,
            client_id: raw.login.client_id,
            subscribe_refusal: raw.login.subscribe_refusal,
            publish_refusal: raw.login.publish_refusal,
            anonymous: raw.anonymous.as_ref().map(|raw| Anonymous {
                allow: raw.allow.clone(),
                deny: raw.deny.clone(),
            }),
            audit: raw.audit,
            limits: raw.limits.clone(),
        };
        self.check_plain(&config, flags, &mut errors);
        self.check_anonymous(&config, &mut errors);
        self.check_names(&config, &mut errors);
        self.check_values(&mut errors);
        if errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors::by_line(errors))
        }
    }

    /// What can be said of each value alone, whatever the flags are.
    pub(super) fn check_values(&self, errors: &mut Vec<ConfigError>) {
        self.check_filters(errors);
        let raw = &self.raw;
        let mut bound =
            |table: &'static str, key: &'static str, value: u64, least: u64, most: u64| {
                if !(least..=most).contains(&value) {
                    let message =
                        format!("`{key}` is {value}; it must be between {least} and {most}");
                    errors.push(self.error(table, key, message));
                }
            };
        let shards = raw.shards.unwrap_or(0) as u64;
        bound("", "shards", shards, 0, SHARDS_MAX as u64);
        let sys_interval_s = raw.sys_interval_s.unwrap_or(SYS_INTERVAL_S);
        bound("", "sys_interval_s", sys_interval_s, 0, SYS_INTERVAL_S_MAX);
        bound(
            "login",
            "assertion_ttl_max_s",
            raw.login.assertion_ttl_max_s,
            0,
            CONFIGURED_LIFE_S_MAX,
        );
        let audit = &raw.audit;
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
        for (key, value, least, most) in raw.limits.out_of_range() {
            bound("limits", key, value, least, most);
        }
    }

    fn check_filters(&self, errors: &mut Vec<ConfigError>) {
        let Some(anonymous) = &self.raw.anonymous else {
            return;
        };
        if anonymous.allow.is_empty() {
            let message =
                "[anonymous] allows nothing: write `allow = [\"#\"]` under it, or take it out";
            errors.push(self.error("", "anonymous", message.to_owned()));
        }
        for (key, filters) in [("allow", &anonymous.allow), ("deny", &anonymous.deny)] {
            for (index, filter) in filters.iter().enumerate() {
                let fault = match Pattern::parse(filter) {
                    // Somebody who proved nothing has no id that could take its place.
                    _ if filter.contains(['{', '}']) => "templates have no place here".to_owned(),
                    Ok(_) => continue,
                    Err(fault) => fault.to_string(),
                };
                let mut error =
                    self.error("anonymous", key, format!("`{key}`: `{filter}`: {fault}"));
                if let Some(place) = self.place_of_item("anonymous", key, index) {
                    error.place = place;
                }
                errors.push(error);
            }
        }
    }

    pub(super) fn error(&self, table: &str, key: &str, message: String) -> ConfigError {
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
