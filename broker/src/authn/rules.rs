//! What a listener asks of those who log in.
use super::Method;
#[cfg(doc)]
use keygate_protocol::assertion::CONFIGURED_LIFE_S_MAX;
use keygate_protocol::assertion::LIFE_S_MAX;
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
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ClientIdRule {
    /// It is the id.
    #[default]
    Id,
}

impl ClientIdRule {
    /// Whether the owner of `id` may use this client id.
    #[must_use]
    pub fn admits(self, client_id: &str, id: &str) -> bool {
        match self {
            Self::Id => client_id == id,
        }
    }
}
