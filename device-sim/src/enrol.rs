//! What to enrol before a run: JSON Lines for `keygate device import -`, or passwords for other brokers.

use std::fmt::Write;

use serde::Serialize;

use crate::identity::{Cast, Member};
use crate::scenario::Scenario;

/// The role of members that watch and command.
const OPERATOR: &str = "operator";

/// What every line says besides the id and the key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grants {
    /// Roles of the devices; none means `device`.
    pub roles: Vec<String>,
    /// Groups of the devices.
    pub groups: Vec<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    public_key: String,
    roles: &'a [String],
    groups: &'a [String],
    attributes: Nothing,
}

/// `{}`.
#[derive(Serialize)]
struct Nothing {}

/// Everybody whom a run of this scenario needs: its devices, its gateways, the watcher and the controller. Impostors
/// are left out; that is what makes them impostors.
///
/// Each item is one line without its end. Keys are derived while iterating, so a million lines need no memory.
///
/// ```
/// use device_sim::enrol::{Grants, lines};
/// use device_sim::scenario::builtin;
///
/// let mut smoke = builtin("smoke")?;
/// smoke.fleet.devices = 2;
/// let all: Vec<String> = lines(&smoke, &Grants::default()).collect();
/// assert_eq!(all.len(), 2 + 3 + 2);
/// assert!(all[0].starts_with(r#"{"id":"dev-000000","public_key":""#));
/// assert!(all[6].contains(r#""id":"sim-controller""#) && all[6].contains(r#""roles":["operator"]"#));
/// # Ok::<(), device_sim::scenario::ScenarioError>(())
/// ```
pub fn lines(scenario: &Scenario, grants: &Grants) -> impl Iterator<Item = String> + use<> {
    let devices = device_lines(scenario, grants);
    let cast = cast(scenario);
    let roles = device_roles(grants);
    let operator = vec![OPERATOR.to_owned()];
    let gateways = (0..scenario.gateways.count)
        .map(Member::Gateway)
        .map(move |member| (member, roles.clone()));
    let others = [Member::Watcher, Member::Controller].map(|member| (member, operator.clone()));
    devices.chain(
        gateways
            .chain(others)
            .map(move |(member, roles)| line(&cast, member, &roles, &[])),
    )
}

/// Only the devices.
pub fn device_lines(scenario: &Scenario, grants: &Grants) -> impl Iterator<Item = String> + use<> {
    let cast = cast(scenario);
    let roles = device_roles(grants);
    let groups = grants.groups.clone();
    let has_partners = scenario.has_partners();
    (0..scenario.fleet.devices).map(move |index| {
        // Partners read another device's topics.
        if has_partners && !index.is_multiple_of(2) {
            let mut roles = roles.clone();
            roles.push(OPERATOR.to_owned());
            return line(&cast, Member::Device(index), &roles, &groups);
        }
        line(&cast, Member::Device(index), &roles, &groups)
    })
}

/// The same people as `id:password` lines: what `mosquitto_passwd -U` hashes in place.
///
/// ```
/// use device_sim::enrol::password_lines;
/// use device_sim::scenario::builtin;
///
/// let mut load = builtin("load")?;
/// load.fleet.devices = 2;
/// let all: Vec<String> = password_lines(&load).collect();
/// assert_eq!(all.len(), 2 + 2);
/// assert!(all[0].starts_with("dev-000000:"));
/// # Ok::<(), device_sim::scenario::ScenarioError>(())
/// ```
pub fn password_lines(scenario: &Scenario) -> impl Iterator<Item = String> + use<> {
    let cast = cast(scenario);
    let devices = (0..scenario.fleet.devices).map(Member::Device);
    devices
        .chain([Member::Watcher, Member::Controller])
        .map(move |member| format!("{}:{}", cast.id(member), cast.password(member)))
}

fn cast(scenario: &Scenario) -> Cast {
    Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix)
}

fn device_roles(grants: &Grants) -> Vec<String> {
    if grants.roles.is_empty() {
        vec!["device".to_owned()]
    } else {
        grants.roles.clone()
    }
}

fn line(cast: &Cast, member: Member, roles: &[String], groups: &[String]) -> String {
    let line = Line {
        id: cast.id(member),
        public_key: hex(cast.signer(member).public_key().as_bytes()),
        roles,
        groups,
        attributes: Nothing {},
    };
    serde_json::to_string(&line).expect("strings and lists of strings always serialise")
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The bytes of a hex text of exactly `N` bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |character: u8| {
            char::from(character)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let [high, low] = *pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::builtin;

    fn scenario(devices: u32) -> Scenario {
        let mut scenario = builtin("smoke").expect("built in");
        scenario.fleet.devices = devices;
        scenario.fleet.seed = "seed-1".to_owned();
        scenario
    }

    #[test]
    fn a_line_is_what_import_reads() {
        let grants = Grants {
            roles: vec![],
            groups: vec!["g1".to_owned()],
        };
        let line = lines(&scenario(1), &grants).next().expect("one");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["id"], "dev-000000");
        assert_eq!(value["roles"], serde_json::json!(["device"]));
        assert_eq!(value["groups"], serde_json::json!(["g1"]));
        assert_eq!(value["attributes"], serde_json::json!({}));
        let key: [u8; 32] =
            unhex(value["public_key"].as_str().expect("text")).expect("64 hex digits");
        let private =
            unhex("f6c450950a6a205d0abcb28ea1ab7372750f582673d92d9ab3a48dd3de219c4c").expect("hex");
        assert_eq!(
            &key,
            SoftwareSigner::from_seed(&private).public_key().as_bytes()
        );
    }

    #[test]
    fn grants_are_the_devices_and_nobody_elses() {
        let grants = Grants {
            roles: vec!["lamp".to_owned()],
            groups: vec!["hall".to_owned()],
        };
        let all: Vec<String> = lines(&scenario(1), &grants).collect();
        assert!(all[0].contains(r#""roles":["lamp"],"groups":["hall"]"#));
        assert!(
            all[1].contains(r#""id":"gw-000000""#)
                && all[1].contains(r#""roles":["lamp"],"groups":[]"#)
        );
        assert!(
            all[4].contains(r#""id":"sim-watcher""#)
                && all[4].contains(r#""roles":["operator"],"groups":[]"#)
        );
    }

    #[test]
    fn every_public_key_is_enrolled_once() {
        let all: Vec<String> = lines(&scenario(50), &Grants::default()).collect();
        let mut keys: Vec<&str> = all
            .iter()
            .filter_map(|line| line.split("\"public_key\":\"").nth(1))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 50 + 3 + 2);
    }

    #[test]
    fn hex_reads_back_and_refuses_what_is_none() {
        assert_eq!(unhex::<2>("0aFf"), Some([0x0a, 0xff]));
        for bad in ["0a", "0aff0", "0ag0", "0a é"] {
            assert_eq!(unhex::<2>(bad), None, "{bad}");
        }
    }

    use keygate_protocol::crypto::SoftwareSigner;
}
