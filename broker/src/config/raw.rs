//! What the file says, word for word.

use super::checked::{AssertionReuse, PublishRefusal, SubscribeRefusal};
use super::engine::Engine;
use super::error::{ConfigError, ConfigErrors, Place};
use super::transports::{Binding, PlainTls, TlsVersion};
use crate::authn::ClientIdRule;
use crate::limits::Limits;
use crate::telemetry::trail::Keep;
use keygate_protocol::assertion::LIFE_S_MAX;
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file: far more than every setting with a paragraph beside it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file that names only settings that exist; their values are not compared with each other yet.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub(super) raw: Raw,
    /// The file's name as it was given, and its text: to find lines and what was set.
    pub(super) name: String,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) shards: Option<usize>,
    pub(super) log: Option<String>,
    pub(super) sys_interval_s: Option<u64>,
    pub(super) engine: Option<Engine>,
    pub(super) upstream: RawUpstream,
    pub(super) listeners: RawListeners,
    pub(super) tls: RawTls,
    pub(super) websocket: RawWebSocket,
    pub(super) login: RawLogin,
    pub(super) anonymous: Option<RawAnonymous>,
    pub(super) audit: Keep,
    pub(super) limits: Limits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListeners {
    pub(super) mqtt: Option<String>,
    pub(super) mqtts: Option<String>,
    pub(super) ws: Option<String>,
    pub(super) wss: Option<String>,
    pub(super) coap: Option<String>,
    pub(super) allow_plain: bool,
    pub(super) tls: PlainTls,
    pub(super) proxies: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) urls: Vec<String>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) client_id_prefix: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) min_version: TlsVersion,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawWebSocket {
    pub(super) origins: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) assertion_reuse: AssertionReuse,
    pub(super) assertion_ttl_max_s: u64,
    pub(super) binding: Binding,
    pub(super) client_id: ClientIdRule,
    pub(super) publish_refusal: PublishRefusal,
    pub(super) subscribe_refusal: SubscribeRefusal,
}

impl Default for RawLogin {
    fn default() -> Self {
        Self {
            assertion_reuse: AssertionReuse::default(),
            assertion_ttl_max_s: LIFE_S_MAX,
            binding: Binding::default(),
            client_id: ClientIdRule::default(),
            publish_refusal: PublishRefusal::default(),
            subscribe_refusal: SubscribeRefusal::default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAnonymous {
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
}

/// Reads a configuration file.
pub fn load(path: &Path) -> Result<Given, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable = |message: String| {
        ConfigErrors(vec![ConfigError {
            place: Place::File {
                name: name.clone(),
                line: 0,
            },
            message,
        }])
    };
    match std::fs::metadata(path) {
        Ok(file) if file.len() > FILE_BYTES_MAX => {
            return Err(unreadable(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        _ => {}
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    parse(&text, &name)
}

/// Reads the text of a configuration file; `name` stands in its errors, which name all that is wrong in it.
pub fn parse(text: &str, name: &str) -> Result<Given, ConfigErrors> {
    let error_at = |message: &str, span: Option<Range<usize>>| ConfigError {
        place: Place::File {
            name: name.to_owned(),
            line: span.map_or(0, |span| line_at(text, span.start)),
        },
        message: readable(message),
    };
    let (document, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        let errors = faults
            .iter()
            .map(|fault| error_at(fault.message(), fault.span()));
        return Err(ConfigErrors(errors.collect()));
    }
    let mut rest = document;
    let mut errors = Vec::new();
    let raw = loop {
        let fault = match Raw::deserialize(toml::Deserializer::from(rest.clone())) {
            Ok(raw) => break raw,
            Err(fault) => fault,
        };
        let mut error = error_at(fault.message(), fault.span());
        // Without that setting, to see what else is wrong. Each time there is one less.
        let removed = fault.span().and_then(|span| remove(rest.get_mut(), &span));
        let Some(name) = removed else {
            errors.push(error);
            return Err(ConfigErrors::by_line(errors));
        };
        if !error.message.starts_with("unknown setting") {
            error.message = format!("`{name}`: {}", error.message);
        }
        errors.push(error);
    };
    let given = Given {
        raw,
        name: name.to_owned(),
        text: text.to_owned(),
    };
    if errors.is_empty() {
        return Ok(given);
    }
    given.check_values(&mut errors);
    Err(ConfigErrors::by_line(errors))
}

/// Removes the setting, or the whole table, whose text is at `at`, and tells its name.
fn remove(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<String> {
    for (_, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(name) = remove(inner, at)
        {
            return Some(name);
        }
    }
    let covers = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
    let found = table
        .iter()
        .find(|(key, value)| covers(key.span()) || covers(value.span()))
        .map(|(key, _)| key.clone())?;
    table.remove(&found)?;
    Some(found.get_ref().to_string())
}

impl Given {
    /// Where the setting `table.key` stands in the file, if it does.
    pub(super) fn place(&self, table: &str, key: &str) -> Option<Place> {
        let root = DeTable::parse(&self.text).ok()?.into_inner();
        let in_table = |table: &DeTable<'_>| {
            let (key, _) = table.get_key_value(key)?;
            Some(line_at(&self.text, key.span().start))
        };
        let line = if table.is_empty() {
            in_table(&root)?
        } else {
            match root.get(table)?.get_ref() {
                DeValue::Table(table) => in_table(table)?,
                _ => return None,
            }
        };
        Some(self.line(line))
    }

    /// Where the item number `index` of the list `table.key` stands.
    pub(super) fn place_of_item(&self, table: &str, key: &str, index: usize) -> Option<Place> {
        let root = DeTable::parse(&self.text).ok()?.into_inner();
        let list = root.get(table)?.get_ref().get(key)?;
        let item: &Spanned<DeValue<'_>> = list.get_ref().get(index)?;
        Some(self.line(line_at(&self.text, item.span().start)))
    }

    fn line(&self, line: usize) -> Place {
        Place::File {
            name: self.name.clone(),
            line,
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// The parser's message in our words: an unknown setting is answered with the one that was probably meant.
fn readable(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.replace('\n', " ").trim().to_owned();
    };
    let mut quoted = rest.split('`').step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.filter(|name| !name.is_empty()).collect();
    let unknown_setting = format!("unknown setting `{unknown}`");
    match closest(unknown, &known) {
        Some(meant) => format!("{unknown_setting}; did you mean `{meant}`?"),
        None => format!("{unknown_setting}; settings here: {}", known.join(", ")),
    }
}

/// The name that the unknown one was probably meant to be: at most a third of its letters differ.
fn closest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (distance(unknown, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3)
        .map(|(_, name)| name)
}

/// Levenshtein distance; the names are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
