//! One line of an import.
use super::device::{NewDevice, ROLE_DEFAULT};
use super::import::LineProblem;
use super::limits::IMPORT_LINE_LEN_MAX;
use super::public_key::parse_public_key;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::{fmt, str};

/// What [`read_line`] found.
pub(super) enum LineRead {
    Line,
    TooLong,
    End,
}

/// Reads one line, holding at most [`IMPORT_LINE_LEN_MAX`] bytes of it.
pub(super) fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<LineRead> {
    line.clear();
    let bound = IMPORT_LINE_LEN_MAX as u64 + 1;
    if input.take(bound).read_until(b'\n', line)? == 0 {
        return Ok(LineRead::End);
    }
    if line.ends_with(b"\n") || line.len() <= IMPORT_LINE_LEN_MAX {
        return Ok(LineRead::Line);
    }
    loop {
        let rest = input.fill_buf()?;
        let (used, done) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (rest.len(), rest.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(LineRead::TooLong);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    public_key: String,
    roles: Option<Vec<String>>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    via: Vec<String>,
}

/// The device that a line describes.
pub(super) fn parse_line(line: &[u8]) -> Result<NewDevice, LineProblem> {
    let text = str::from_utf8(line).map_err(|_| LineProblem::NotUtf8)?;
    let line: Line = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
    let key = parse_public_key(&line.public_key)?;
    let new = NewDevice::new(line.id, key);
    Ok(NewDevice {
        roles: line.roles.unwrap_or_else(|| vec![ROLE_DEFAULT.into()]),
        groups: line.groups,
        attributes: line.attributes.0,
        via: line.via,
        ..new
    })
}

fn json_problem(error: &serde_json::Error) -> LineProblem {
    // The parser sees one line at a time; its "line 1" would be confused with the file's.
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(what, _)| what);
    let not_json = match error.classify() {
        serde_json::error::Category::Data => "",
        _ => "not JSON: ",
    };
    LineProblem::Json {
        what: not_json
            .chars()
            .chain(what.chars())
            .flat_map(char::escape_debug)
            .take(200)
            .collect(),
        column: error.column(),
    }
}

/// A JSON object of texts in which no name stands twice.
#[derive(Default)]
struct Attributes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if attributes.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate attribute `{name}`")));
                    }
                    attributes.insert(name, value);
                }
                Ok(Attributes(attributes))
            }
        }
        deserializer.deserialize_map(Once)
    }
}
