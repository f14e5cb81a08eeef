//! What roles give, written as the entries of a token's scope.
use super::action::Action;
use super::policy::{Effect, Policy};
use crate::identity::Device;
use keygate_protocol::topic::{TopicFilter, covers};

/// One entry of a scope: a filter and what may be done inside it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct ScopeEntry {
    /// A plain topic filter.
    pub filter: String,
    /// Publish to topics inside the filter.
    pub publish: bool,
    /// Subscribe to filters inside it.
    pub subscribe: bool,
}

impl Policy {
    /// Everything that the device's roles allow. A scope cannot say "except": what a deny rule takes out of an entry is
    /// refused when the token is used, because roles are read live.
    #[must_use]
    pub fn scope(&self, device: &Device) -> Vec<ScopeEntry> {
        let mut scope = Scope::default();
        for filter in self.granted(device, Action::Publish) {
            scope.add(filter, true, false);
        }
        for filter in self.granted(device, Action::Subscribe) {
            scope.add(filter, false, true);
        }
        scope.0
    }

    /// The part of `requested` that the device's roles allow; empty when there is none.
    ///
    /// An entry inside what is granted stays as it is. An entry wider than what is granted becomes the grants inside it.
    /// One that only crosses a grant is dropped: there is no telling what was meant.
    #[must_use]
    pub fn narrow(&self, device: &Device, requested: &[ScopeEntry]) -> Vec<ScopeEntry> {
        let publish = self.granted(device, Action::Publish);
        let subscribe = self.granted(device, Action::Subscribe);
        let mut scope = Scope::default();
        for entry in requested {
            if entry.publish {
                for filter in self.common(device, Action::Publish, &entry.filter, &publish) {
                    scope.add(filter, true, false);
                }
            }
            if entry.subscribe {
                for filter in self.common(device, Action::Subscribe, &entry.filter, &subscribe) {
                    scope.add(filter, false, true);
                }
            }
        }
        scope.0
    }

    fn granted(&self, device: &Device, action: Action) -> Vec<String> {
        if !device.is_active() {
            return Vec::new();
        }
        let allowed = self.expanded(device, action, Effect::Allow);
        let denied = self.expanded(device, action, Effect::Deny);
        allowed
            .into_iter()
            .filter(|filter| !denied.iter().any(|deny| is_inside(filter, deny)))
            .collect()
    }

    fn common(
        &self,
        device: &Device,
        action: Action,
        requested: &str,
        granted: &[String],
    ) -> Vec<String> {
        let is_plain = TopicFilter::new(requested).is_ok_and(|f| f.share().is_none());
        let denied = self.expanded(device, action, Effect::Deny);
        if !is_plain || denied.iter().any(|deny| is_inside(requested, deny)) {
            return Vec::new();
        }
        if granted.iter().any(|grant| is_inside(requested, grant)) {
            return vec![requested.into()];
        }
        let inside = granted.iter().filter(|grant| is_inside(grant, requested));
        inside.cloned().collect()
    }

    fn expanded(&self, device: &Device, action: Action, effect: Effect) -> Vec<String> {
        self.rules_for(device, action)
            .filter(|(_, rule)| rule.effect == effect)
            .flat_map(|(_, rule)| rule.patterns.iter())
            .flat_map(|pattern| pattern.expand(device))
            .collect()
    }
}

/// Entries in the order in which they came, each filter once.
#[derive(Default)]
struct Scope(Vec<ScopeEntry>);

impl Scope {
    fn add(&mut self, filter: String, publish: bool, subscribe: bool) {
        match self.0.iter_mut().find(|entry| entry.filter == filter) {
            Some(entry) => {
                entry.publish |= publish;
                entry.subscribe |= subscribe;
            }
            None => self.0.push(ScopeEntry {
                filter,
                publish,
                subscribe,
            }),
        }
    }
}

fn is_inside(inner: &str, outer: &str) -> bool {
    match (TopicFilter::new(inner), TopicFilter::new(outer)) {
        (Ok(inner), Ok(outer)) => covers(outer, inner),
        _ => false,
    }
}
