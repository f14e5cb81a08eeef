//! Roles, rules and patterns, each by its tables; and what holds for any policy.
mod builtin;
mod decisions;
mod patterns;
mod properties;
mod scopes;

use super::*;
use crate::authn::{Method, Principal};
use crate::identity::{Device, DeviceKey, DeviceState, Revision};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::topic::{TopicFilter, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

const EVERYTHING: &[Action] = &Action::ALL;

fn device(id: &str, roles: &[&str], groups: &[&str]) -> Device {
    let shared = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    Device {
        id: id.into(),
        state: DeviceState::Active,
        keys: [DeviceKey::new(
            SoftwareSigner::from_seed(&[7; 32]).public_key(),
        )]
        .into(),
        roles: shared(roles),
        groups: shared(groups),
        attributes: BTreeMap::new(),
        via: Box::default(),
    }
}

fn principal(device: Device) -> Principal {
    Principal {
        device: Arc::new(device),
        key_id: None,
        method: Method::KgEd25519,
        expires_at: None,
        revision: Revision(1),
    }
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn role(name: &str) -> Role {
    Role::new(name)
}

fn cause<T: std::fmt::Debug>(answer: Result<T, Denied>) -> DeniedCause {
    answer.unwrap_err().cause
}

fn entry(filter: &str, publish: bool, subscribe: bool) -> ScopeEntry {
    ScopeEntry {
        filter: filter.into(),
        publish,
        subscribe,
    }
}
