//! What a listener asks of those who log in.
use super::Method;
use crate::rng::Random;
#[cfg(doc)]
use keygate_protocol::assertion::CONFIGURED_LIFE_S_MAX;
use keygate_protocol::assertion::LIFE_S_MAX;
use keygate_protocol::ident::Id;
use keygate_protocol::login::BindingPolicy;

/// The login rules of one listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerRules {
    /// The methods that it takes, in the order in which they are asked.
    pub methods: Box<[Method]>,
    /// How the client id relates to the identity.
    pub client_id: ClientIdRule,
    /// Whether a `kg-ed25519` proof covers the TLS channel.
    pub binding: BindingPolicy,
    /// Whether an assertion opens one connection or any number until it expires.
    pub assertion_reuse: Reuse,
    /// Longest life of an assertion with times; somebody who gets hold of a reusable assertion is that
    /// device for so long, so no more than [`CONFIGURED_LIFE_S_MAX`] counts.
    pub assertion_ttl_max_s: u64,
}

impl ListenerRules {
    /// Plain TCP on loopback: clients that reconnect by themselves work, because nobody listens in.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            assertion_reuse: Reuse::UntilExpiry,
            ..Self::plain()
        }
    }

    /// The same, and last of all clients that prove nothing are let in. For loopback listeners only.
    #[must_use]
    pub fn and_anonymous(mut self) -> Self {
        let methods = self.methods.into_iter();
        self.methods = methods.chain([Method::Anonymous]).collect();
        self
    }

    /// Plain TCP that others can listen to.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            methods: [Method::KgEd25519, Method::Assertion].into(),
            client_id: ClientIdRule::Id,
            binding: BindingPolicy::None,
            assertion_reuse: Reuse::Once,
            assertion_ttl_max_s: LIFE_S_MAX,
        }
    }
}

/// How often an assertion opens a connection (SPEC.md §6.5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reuse {
    /// Once: it is remembered until it expires.
    Once,
    /// Any number of times until it expires.
    UntilExpiry,
}

/// How the client id relates to the proved identity.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIdRule {
    /// It is the id.
    #[default]
    Id,
    /// It is the id, or `id/suffix` with a suffix that is an id of at most [`SUFFIX_LEN_MAX`] characters: one identity,
    /// several sessions.
    IdOrSuffix,
    /// Anything that is not empty, or as for [`IdOrSuffix`](Self::IdOrSuffix): the client id proves nothing. Whoever is
    /// first with one keeps others from it while its session lives.
    Free,
}

/// Longest suffix of a client id (SPEC.md §2.3).
pub const SUFFIX_LEN_MAX: usize = 63;

/// Characters of a client id, or of its suffix, that the broker assigns: 130 bits, and no more than every MQTT 3.1.1
/// server must take (§3.1.3.1).
const ASSIGNED_LEN: usize = 22;

const ASSIGNED_ALPHABET: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The client id of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Naming {
    pub(super) client_id: Box<str>,
    /// Whether the client sent an empty one and this is what it gets.
    pub(super) assigned: bool,
}

impl ClientIdRule {
    /// Whether the owner of `id` may use this client id, which is not empty.
    #[must_use]
    pub fn admits(self, client_id: &str, id: &str) -> bool {
        let is_own = client_id == id;
        match self {
            Self::Id => is_own,
            Self::IdOrSuffix => is_own || has_suffix(client_id, id),
            Self::Free => !client_id.is_empty(),
        }
    }

    /// Whether an empty client id gets one assigned here.
    #[must_use]
    pub fn assigns(self) -> bool {
        match self {
            Self::Id => false,
            Self::IdOrSuffix | Self::Free => true,
        }
    }

    /// The client id of the owner of `id`: what it sent, or `id/suffix` if it sent none and that is allowed here.
    pub(super) fn name(self, sent: &str, id: &str, suffix: Option<&Suffix>) -> Option<Naming> {
        match (sent.is_empty(), suffix) {
            (false, _) => self.admits(sent, id).then(|| Naming {
                client_id: sent.into(),
                assigned: false,
            }),
            (true, Some(suffix)) if self.assigns() => Some(Naming {
                client_id: format!("{id}/{}", suffix.as_str()).into(),
                assigned: true,
            }),
            (true, _) => None,
        }
    }
}

/// Text that nobody can guess, so that an assigned client id names no session of somebody else.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Suffix(Box<str>);

impl Suffix {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        let mut text = String::with_capacity(ASSIGNED_LEN);
        while text.len() < ASSIGNED_LEN {
            for byte in random.array::<ASSIGNED_LEN>() {
                // 248 is the largest multiple of 62: what lies above would make some characters likelier.
                let character = ASSIGNED_ALPHABET.get(usize::from(byte % 62));
                if byte < 248
                    && text.len() < ASSIGNED_LEN
                    && let Some(&character) = character
                {
                    text.push(char::from(character));
                }
            }
        }
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_suffix(client_id: &str, id: &str) -> bool {
    client_id
        .strip_prefix(id)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|suffix| suffix.len() <= SUFFIX_LEN_MAX && Id::new(suffix).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRandom;

    #[test]
    fn each_rule_admits_what_it_says() {
        let longest = format!("dev-1/{}", "s".repeat(SUFFIX_LEN_MAX));
        let too_long = format!("{longest}s");
        for (client_id, by_id, by_suffix, free) in [
            ("dev-1", true, true, true),
            ("dev-1/panel", false, true, true),
            (longest.as_str(), false, true, true),
            (too_long.as_str(), false, false, true),
            ("dev-1/", false, false, true),
            ("dev-1/a/b", false, false, true),
            ("dev-1/-a", false, false, true),
            ("dev-1/a b", false, false, true),
            ("dev-10/panel", false, false, true),
            ("dev-1panel", false, false, true),
            ("DEV-1", false, false, true),
            ("dev-2", false, false, true),
            ("dev-2/panel", false, false, true),
            ("", false, false, false),
        ] {
            let admitted = |rule: ClientIdRule| rule.admits(client_id, "dev-1");
            let rules = [
                ClientIdRule::Id,
                ClientIdRule::IdOrSuffix,
                ClientIdRule::Free,
            ];
            assert_eq!(
                rules.map(admitted),
                [by_id, by_suffix, free],
                "{client_id:?}"
            );
        }
    }

    #[test]
    fn an_empty_client_id_gets_one_where_suffixes_are_allowed() {
        let suffix = Suffix::new(&mut SeededRandom::new(1));
        assert_eq!(ClientIdRule::Id.name("", "dev-1", Some(&suffix)), None);
        for rule in [ClientIdRule::IdOrSuffix, ClientIdRule::Free] {
            let naming = rule.name("", "dev-1", Some(&suffix)).unwrap();
            assert!(naming.assigned);
            assert_eq!(*naming.client_id, *format!("dev-1/{}", suffix.as_str()));
            // It can come back under that id.
            assert!(rule.admits(&naming.client_id, "dev-1"));
            assert!(!ClientIdRule::IdOrSuffix.admits(&naming.client_id, "dev-2"));
            assert_eq!(rule.name("", "dev-1", None), None);
        }
    }

    #[test]
    fn assigned_text_is_short_plain_and_never_the_same() {
        let mut random = SeededRandom::new(7);
        let mut seen = std::collections::BTreeSet::new();
        let mut characters = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            let suffix = Suffix::new(&mut random);
            assert_eq!(suffix.as_str().len(), ASSIGNED_LEN);
            characters.extend(suffix.as_str().bytes());
            assert!(seen.insert(suffix));
        }
        assert!(characters.iter().eq(ASSIGNED_ALPHABET), "{characters:?}");
    }
}
