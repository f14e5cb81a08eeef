//! Every setting with its value and where that came from.

use super::checked::{Config, Flags};
use super::raw::Given;
use serde::Serialize;
use std::fmt;

/// Where a value came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File,
    /// The command line or the environment.
    Flag,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
        })
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its table; empty for the ones that stand before any table.
    pub table: &'static str,
    /// Its name in that table.
    pub name: String,
    /// Its value; none if it is off.
    pub value: Option<toml::Value>,
    /// Where the value came from.
    pub from: From,
}

impl Given {
    /// Every setting of `config`, which these settings and `flags` were checked into, in the order of the tables.
    #[must_use]
    pub fn settings(&self, flags: &Flags, config: &Config) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut add = |table: &'static str, name: &str, value: Option<toml::Value>, flag: bool| {
            let from = match flag {
                true => From::Flag,
                false if self.place(table, name).is_some() => From::File,
                false => From::Default,
            };
            let name = name.to_owned();
            settings.push(Setting {
                table,
                name,
                value,
                from,
            });
        };
        let integer = |n: u64| toml::Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        add("", "shards", Some(integer(config.shards as u64)), false);
        let sys_interval_s = integer(config.sys_interval_s);
        add("", "sys_interval_s", Some(sys_interval_s), false);
        let engine = toml::Value::try_from(config.engine);
        let by_flag = flags.engine.is_some() || !flags.upstream.is_empty();
        add("", "engine", engine.ok(), by_flag);
        add(
            "",
            "log",
            Some(config.log.as_str().into()),
            flags.log.is_some(),
        );
        for (name, address, flag) in [
            ("mqtt", config.mqtt.mqtt, flags.mqtt),
            ("mqtts", config.mqtt.mqtts, flags.mqtts),
            ("ws", config.mqtt.ws, flags.ws),
            ("wss", config.mqtt.wss, flags.wss),
            ("coap", config.coap, flags.coap),
        ] {
            let value = address.map(|address| address.to_string().into());
            add("listeners", name, value, flag.is_some());
        }
        add(
            "listeners",
            "allow_plain",
            Some(config.allow_plain.into()),
            flags.allow_plain,
        );
        let tls = toml::Value::try_from(config.plain_tls);
        add("listeners", "tls", tls.ok(), false);
        let proxies = self.raw.listeners.proxies.clone();
        add("listeners", "proxies", Some(proxies.into()), false);
        let upstream = &config.upstream;
        let urls = upstream.nodes.iter().map(|node| format!("mqtt://{node}"));
        let urls = urls.collect::<Vec<_>>();
        add(
            "upstream",
            "urls",
            Some(urls.into()),
            !flags.upstream.is_empty(),
        );
        let password = upstream.password_file.as_ref();
        let password = password.map(|path| path.display().to_string().into());
        let username = upstream.username.clone().map(toml::Value::from);
        add("upstream", "username", username, false);
        add("upstream", "password_file", password, false);
        let prefix = upstream.client_id_prefix.clone();
        add("upstream", "client_id_prefix", Some(prefix.into()), false);
        let certificate = config.certificate.as_ref();
        for (name, path, flag) in [
            ("cert", certificate.map(|c| &c.cert), flags.cert.is_some()),
            ("key", certificate.map(|c| &c.key), flags.key.is_some()),
        ] {
            let value = path.map(|path| path.display().to_string().into());
            add("tls", name, value, flag);
        }
        let version = toml::Value::try_from(config.tls_version);
        add("tls", "min_version", version.ok(), false);
        let origins = config.origins.clone();
        add("websocket", "origins", Some(origins.into()), false);
        let ttl_max = toml::Value::try_from(config.assertion_ttl_max_s);
        for (name, value) in [
            (
                "assertion_reuse",
                toml::Value::try_from(config.assertion_reuse),
            ),
            ("assertion_ttl_max_s", ttl_max),
            ("binding", toml::Value::try_from(config.binding)),
            ("client_id", toml::Value::try_from(config.client_id)),
            (
                "publish_refusal",
                toml::Value::try_from(config.publish_refusal),
            ),
            (
                "subscribe_refusal",
                toml::Value::try_from(config.subscribe_refusal),
            ),
        ] {
            add("login", name, value.ok(), false);
        }
        let anonymous = config.anonymous.as_ref();
        for (name, filters) in [
            ("allow", anonymous.map(|rules| rules.allow.clone())),
            ("deny", anonymous.map(|rules| rules.deny.clone())),
        ] {
            add("anonymous", name, filters.map(toml::Value::from), false);
        }
        for (table, values) in [
            ("audit", toml::Table::try_from(config.audit)),
            ("limits", toml::Table::try_from(&config.limits)),
        ] {
            // Plain numbers: they always have a TOML form.
            for (name, value) in values.unwrap_or_default() {
                add(table, &name, Some(value), false);
            }
        }
        settings
    }
}
