//! What carries the messages of those who logged in.
use super::checked::{Config, Flags};
use super::error::{ConfigError, Place};
use super::raw::Given;
use crate::authn::ClientIdRule;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The port of MQTT where a URL names none.
const PORT: u16 = 1883;

/// What carries the messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// This broker.
    #[default]
    Hub,
    /// Another broker, or a cluster: each session is relayed to it.
    Upstream,
    /// rumqttd in this process: each session is relayed to it. Needs a build with the feature `rumqttd`.
    Rumqttd,
}

/// The broker that sessions are relayed to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpstreamSettings {
    /// Its nodes, `HOST:PORT` each: sessions take turns.
    pub nodes: Vec<String>,
    /// The gate's own user name there.
    pub username: Option<String>,
    /// The file with the gate's own password there.
    pub password_file: Option<PathBuf>,
    /// What stands in front of every client id.
    pub client_id_prefix: String,
}

/// `HOST:PORT` of a URL.
fn node(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("mqtt://") else {
        return Err(format!(
            "`{url}` is no URL of an upstream; write mqtt://HOST:PORT (TLS to the upstream is not spoken: put both on \
             one closed network)"
        ));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '@', '?', '#']) {
        return Err(format!(
            "`{url}` is no URL of an upstream; write mqtt://HOST:PORT (user name and password have settings of their \
             own under [upstream])"
        ));
    }
    let has_port = rest
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    match has_port {
        true => Ok(rest.to_owned()),
        // What is left of an IPv6 address may not be taken for a port.
        false if rest.contains(':') && !rest.ends_with(']') => Err(format!(
            "`{url}` has no port that is one; write mqtt://HOST:PORT"
        )),
        false => Ok(format!("{rest}:{PORT}")),
    }
}

impl Given {
    /// What carries the messages; a URL of an upstream says so by itself.
    pub(super) fn engine(
        &self,
        flags: &Flags,
        errors: &mut Vec<ConfigError>,
    ) -> (Engine, UpstreamSettings) {
        let raw = &self.raw.upstream;
        let mut settings = UpstreamSettings {
            nodes: Vec::new(),
            username: raw.username.clone(),
            password_file: raw.password_file.clone(),
            client_id_prefix: raw.client_id_prefix.clone(),
        };
        if flags.upstream.is_empty() {
            for (index, url) in raw.urls.iter().enumerate() {
                match node(url) {
                    Ok(node) => settings.nodes.push(node),
                    Err(fault) => {
                        let mut error = self.error("upstream", "urls", format!("`urls`: {fault}"));
                        if let Some(place) = self.place_of_item("upstream", "urls", index) {
                            error.place = place;
                        }
                        errors.push(error);
                    }
                }
            }
        }
        for url in &flags.upstream {
            match node(url) {
                Ok(node) => settings.nodes.push(node),
                Err(message) => errors.push(ConfigError {
                    place: Place::Flag("--upstream"),
                    message,
                }),
            }
        }
        let asked = flags.engine.or(self.raw.engine);
        let by_flag = !flags.upstream.is_empty();
        let engine = asked.unwrap_or(if by_flag {
            Engine::Upstream
        } else {
            Engine::Hub
        });
        if engine == Engine::Upstream && settings.nodes.is_empty() && errors.is_empty() {
            let message = "the engine `upstream` needs a broker to relay to: add --upstream mqtt://HOST:PORT (or `urls` \
                           under [upstream])";
            errors.push(match flags.engine {
                Some(_) => ConfigError {
                    place: Place::Flag("--engine"),
                    message: message.to_owned(),
                },
                None => self.error("", "engine", message.to_owned()),
            });
        }
        if engine == Engine::Rumqttd {
            self.check_rumqttd(flags, &settings, errors);
        }
        (engine, settings)
    }

    /// What keeps rumqttd from being the engine.
    fn check_rumqttd(
        &self,
        flags: &Flags,
        settings: &UpstreamSettings,
        errors: &mut Vec<ConfigError>,
    ) {
        let message = if !cfg!(feature = "rumqttd") {
            "this keygate was built without the engine `rumqttd`: build it with `cargo build --release -p keygate-broker \
             --features rumqttd`, or take another engine"
        } else if *settings != UpstreamSettings::default() {
            "the engine `rumqttd` is a broker in this process, and takes nothing of [upstream] or --upstream; to relay to \
             a broker of yours, write `engine = \"upstream\"`"
        } else {
            return;
        };
        errors.push(match flags.engine {
            Some(_) => ConfigError {
                place: Place::Flag("--engine"),
                message: message.to_owned(),
            },
            None => self.error("", "engine", message.to_owned()),
        });
    }

    /// Sessions live at the upstream, which does not know who proved what: their names must.
    pub(super) fn check_names(&self, config: &Config, errors: &mut Vec<ConfigError>) {
        if config.engine != Engine::Hub && config.client_id == ClientIdRule::Free {
            let message = "`client_id = \"free\"` does not go with an upstream: whoever is first with a name there would \
                           find the session of somebody else; write \"id\" or \"id-or-suffix\"";
            errors.push(self.error("login", "client_id", message.to_owned()));
        }
        if config.engine != Engine::Hub && config.anonymous.is_some() {
            let message = "clients that prove nothing do not go with an upstream: their sessions there would be found by \
                           devices of the same name; take [anonymous] out, or write `engine = \"hub\"`";
            errors.push(self.error("", "anonymous", message.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rumqttd_takes_nothing_of_upstream_and_needs_its_feature() {
        let text = "engine = \"rumqttd\"\n[upstream]\nurls = [\"mqtt://a\"]\n";
        let given = crate::config::parse(text, "keygate.toml").unwrap();
        let errors = format!("{:?}", given.check(&Flags::default()).unwrap_err());
        let expected = match cfg!(feature = "rumqttd") {
            true => "takes nothing of [upstream]",
            false => "was built without the engine `rumqttd`",
        };
        assert!(errors.contains(expected), "{errors}");
    }

    #[test]
    fn urls_of_upstreams() {
        for (url, expected) in [
            ("mqtt://broker", Some("broker:1883")),
            ("mqtt://broker:2883", Some("broker:2883")),
            ("mqtt://10.0.0.1:1/", Some("10.0.0.1:1")),
            ("mqtt://[::1]", Some("[::1]:1883")),
            ("mqtt://[::1]:7", Some("[::1]:7")),
            ("mqtt://broker:port", None),
            ("mqtt://broker:70000", None),
            ("mqtt://:1883", None),
            ("mqtt://", None),
            ("mqtt://user:secret@broker", None),
            ("mqtt://broker/path", None),
            ("mqtts://broker", None),
            ("broker:1883", None),
        ] {
            assert_eq!(node(url).ok().as_deref(), expected, "{url}");
        }
    }
}
