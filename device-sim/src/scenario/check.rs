//! From text to a [`Scenario`] that can be run.

use super::model::{Messages, Scenario, Stream};
use crate::identity::PREFIX_LEN_MAX;

/// More devices than any one process can hold sockets for.
const DEVICES_MAX: u32 = 1_000_000;

/// Reports and orders whose state one process keeps (a byte each).
const MESSAGES_MAX: u64 = 500_000_000;

/// Largest payload: what the default broker takes in a status document.
const PAYLOAD_MAX: u16 = 8_192;

/// Smallest payload: the braces, the words and the numbers of [`crate::payload`].
const PAYLOAD_MIN: u16 = 64;

/// Phases of one run.
const STREAMS_MAX: usize = 8;

const LOAD: &str = include_str!("../../scenarios/load.toml");
const SMOKE: &str = include_str!("../../scenarios/smoke.toml");

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// No built-in scenario has this name.
    #[error("there is no built-in scenario \"{0}\"; there is: {known}", known = builtin_names().join(", "))]
    NoSuchBuiltin(String),
    /// Not TOML, or not this language. The text names line and column.
    #[error("{0}")]
    Syntax(String),
    /// A value that makes no sense.
    #[error("[{section}] {field} {rule}")]
    Value {
        /// The table.
        section: &'static str,
        /// The key.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// The names of the built-in scenarios.
#[must_use]
pub fn builtin_names() -> Vec<&'static str> {
    vec!["smoke", "load"]
}

/// A built-in scenario's text.
///
/// # Errors
/// When there is none of that name.
pub fn builtin_text(name: &str) -> Result<&'static str, ScenarioError> {
    match name {
        "load" => Ok(LOAD),
        "smoke" => Ok(SMOKE),
        other => Err(ScenarioError::NoSuchBuiltin(other.to_owned())),
    }
}

/// A built-in scenario.
///
/// # Errors
/// When there is none of that name.
pub fn builtin(name: &str) -> Result<Scenario, ScenarioError> {
    parse(builtin_text(name)?)
}

/// Reads a scenario.
///
/// # Errors
/// When it is not TOML, says something unknown, or asks for something senseless.
///
/// ```
/// use device_sim::scenario::{builtin_text, parse};
///
/// let text = builtin_text("smoke")?;
/// assert_eq!(parse(text)?.name, "smoke");
///
/// let refused = parse(&text.replace("jitter", "gitter")).unwrap_err().to_string();
/// assert!(refused.contains("line ") && refused.contains("gitter"), "{refused}");
/// # Ok::<(), device_sim::scenario::ScenarioError>(())
/// ```
pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let scenario: Scenario =
        toml::from_str(text).map_err(|error| ScenarioError::Syntax(error.to_string()))?;
    check(&scenario)?;
    Ok(scenario)
}

/// Checks a scenario again after a command line changed some of it.
///
/// # Errors
/// Names the first value that makes no sense.
pub fn checked(scenario: Scenario) -> Result<Scenario, ScenarioError> {
    check(&scenario)?;
    Ok(scenario)
}

/// Names the first value that makes no sense.
pub(crate) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let fleet = &scenario.fleet;
    require(fleet.devices > 0, "fleet", "devices", "must be at least 1")?;
    require(
        fleet.devices <= DEVICES_MAX,
        "fleet",
        "devices",
        "must be at most 1000000: run several processes",
    )?;
    require(!fleet.seed.is_empty(), "fleet", "seed", "must not be empty")?;
    require(
        is_prefix(&fleet.prefix),
        "fleet",
        "prefix",
        "must be 1-40 of A-Z a-z 0-9 . _ - : and begin with a letter or digit",
    )?;
    require(
        fleet.login_timeout_s > 0,
        "fleet",
        "login_timeout_s",
        "must be at least 1",
    )?;

    let arrivals = &scenario.arrivals;
    require(
        (0.001..=1e6).contains(&arrivals.rate_per_s),
        "arrivals",
        "rate_per_s",
        "must be between 0.001 and 1000000",
    )?;
    require(
        (0.0..=1.0).contains(&arrivals.jitter),
        "arrivals",
        "jitter",
        "must be between 0 and 1",
    )?;

    require(
        (0.0..=86_400.0).contains(&scenario.run.duration_s),
        "run",
        "duration_s",
        "must be between 0 and 86400",
    )?;
    require(
        scenario.run.grace_s <= 3_600,
        "run",
        "grace_s",
        "must be at most 3600",
    )?;

    check_messages("reports", &scenario.reports)?;
    check_messages("desired", &scenario.desired)?;
    require(
        scenario.streams.len() <= STREAMS_MAX,
        "streams",
        "name",
        "may be given 8 times at most",
    )?;
    for stream in &scenario.streams {
        check_stream(stream, fleet.devices)?;
    }
    let each = u64::from(scenario.reports_each()) + u64::from(scenario.desired_each());
    let streamed = |stream: &Stream| u64::from(stream.senders) * u64::from(stream.count);
    let all = scenario.streams.iter().map(streamed).fold(
        each.saturating_mul(u64::from(fleet.devices)),
        u64::saturating_add,
    );
    require(
        all <= MESSAGES_MAX,
        "run",
        "duration_s",
        "makes more than 500 million messages: fewer devices or a longer interval_ms",
    )?;

    let gateways = &scenario.gateways;
    require(
        gateways.count <= 10_000,
        "gateways",
        "count",
        "must be at most 10000",
    )?;
    require(
        scenario.impostors.count <= 10_000,
        "impostors",
        "count",
        "must be at most 10000",
    )
}

fn check_messages(section: &'static str, messages: &Messages) -> Result<(), ScenarioError> {
    require(
        (0.0..=1.0).contains(&messages.jitter),
        section,
        "jitter",
        "must be between 0 and 1",
    )?;
    require(
        messages.interval_ms <= 86_400_000,
        section,
        "interval_ms",
        "must be at most a day (86400000)",
    )?;
    require(
        messages.delay_ms <= 86_400_000,
        section,
        "delay_ms",
        "must be at most a day (86400000)",
    )?;
    let sizes = PAYLOAD_MIN..=PAYLOAD_MAX;
    require(
        sizes.contains(&messages.payload_bytes),
        section,
        "payload_bytes",
        "must be between 64 and 8192",
    )
}

fn check_stream(stream: &Stream, devices: u32) -> Result<(), ScenarioError> {
    let require = |holds, field, rule| require(holds, "streams", field, rule);
    require(
        (1..=devices / 2).contains(&stream.senders),
        "senders",
        "must be at least 1 and at most half of the devices: each has a partner",
    )?;
    require(
        (1..=10_000_000).contains(&stream.count),
        "count",
        "must be between 1 and 10000000",
    )?;
    require(stream.burst > 0, "burst", "must be at least 1")?;
    require(
        (1..=86_400_000).contains(&stream.interval_ms),
        "interval_ms",
        "must be between 1 and a day (86400000)",
    )?;
    require(
        stream.start_ms <= 86_400_000,
        "start_ms",
        "must be at most a day (86400000)",
    )?;
    require(
        (PAYLOAD_MIN..=PAYLOAD_MAX).contains(&stream.payload_bytes),
        "payload_bytes",
        "must be between 64 and 8192",
    )
}

fn require(
    holds: bool,
    section: &'static str,
    field: &'static str,
    rule: &'static str,
) -> Result<(), ScenarioError> {
    if holds {
        Ok(())
    } else {
        Err(ScenarioError::Value {
            section,
            field,
            rule,
        })
    }
}

fn is_prefix(prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    prefix.len() <= PREFIX_LEN_MAX
        && prefix
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && prefix.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_can_be_run() {
        for name in builtin_names() {
            let scenario = builtin(name).expect("runs");
            assert_eq!(scenario.name, name);
        }
        assert_eq!(
            builtin("nope"),
            Err(ScenarioError::NoSuchBuiltin("nope".to_owned()))
        );
    }

    #[test]
    fn an_unknown_word_is_refused_with_its_line() {
        let text = SMOKE.replace("duration_s = 3 ", "durations = 3 ");
        let line = text
            .lines()
            .position(|line| line.starts_with("durations"))
            .expect("there")
            + 1;
        let Err(ScenarioError::Syntax(message)) = parse(&text) else {
            panic!("taken")
        };
        assert!(message.contains(&format!("line {line}")), "{message}");
        assert!(message.contains("durations"), "{message}");
    }

    #[test]
    fn senseless_values_are_refused_by_name() {
        for (good, bad, section, field) in [
            ("devices = 200", "devices = 0", "fleet", "devices"),
            ("seed = \"smoke\"", "seed = \"\"", "fleet", "seed"),
            ("prefix = \"dev\"", "prefix = \"-dev\"", "fleet", "prefix"),
            (
                "rate_per_s = 200 ",
                "rate_per_s = 0 ",
                "arrivals",
                "rate_per_s",
            ),
            (
                "rate_per_s = 200 ",
                "rate_per_s = nan ",
                "arrivals",
                "rate_per_s",
            ),
            ("duration_s = 3 ", "duration_s = -1 ", "run", "duration_s"),
            (
                "payload_bytes = 64",
                "payload_bytes = 8",
                "reports",
                "payload_bytes",
            ),
        ] {
            assert!(SMOKE.contains(good), "{good}");
            match parse(&SMOKE.replace(good, bad)) {
                Err(ScenarioError::Value {
                    section: s,
                    field: f,
                    ..
                }) => assert_eq!((s, f), (section, field)),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_number_of_messages_follows_from_duration_and_interval() {
        let mut scenario = builtin("smoke").expect("built in");
        assert_eq!((scenario.reports_each(), scenario.desired_each()), (3, 2));
        scenario.run.duration_s = 0.0;
        assert_eq!(scenario.reports_each(), 1);
        scenario.desired.interval_ms = 0;
        assert_eq!(scenario.desired_each(), 0);
    }

    #[test]
    fn streams_need_partners_and_counts() {
        for (good, bad, field) in [
            ("senders = 500", "senders = 501", "senders"),
            ("senders = 500", "senders = 0", "senders"),
            ("count = 16", "count = 0", "count"),
            ("burst = 1\n", "burst = 0\n", "burst"),
            ("interval_ms = 250", "interval_ms = 0", "interval_ms"),
        ] {
            assert!(LOAD.contains(good), "{good}");
            match parse(&LOAD.replacen(good, bad, 1)) {
                Err(ScenarioError::Value {
                    section: "streams",
                    field: found,
                    ..
                }) => assert_eq!(found, field),
                other => panic!("{bad}: {other:?}"),
            }
        }
        let one = LOAD.split_once("[[streams]]").expect("some").1;
        let many = format!("{LOAD}{}", format!("[[streams]]{one}").repeat(3));
        assert!(matches!(
            parse(&many),
            Err(ScenarioError::Value { field: "name", .. })
        ));
    }
}
