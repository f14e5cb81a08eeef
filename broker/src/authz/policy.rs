//! The policy: roles, and the rules that a role holds.
use super::action::{Action, ActionSet};
use super::pattern::{Asked, Pattern, PatternError};
use crate::identity::Device;
use keygate_protocol::topic::TopicName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who may do what: a value, swapped as a whole. Roles that a device has and the policy does not know give nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    roles: BTreeMap<Arc<str>, Role>,
}

/// A named list of rules.
#[derive(Clone, Debug)]
pub struct Role {
    name: Arc<str>,
    rules: Vec<Rule>,
}

/// Allows or denies actions on the topics of its patterns.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) effect: Effect,
    pub(super) actions: ActionSet,
    pub(super) patterns: Box<[Pattern]>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Grants what one of its patterns covers.
    Allow,
    /// Refuses what one of its patterns touches, whatever else allows it.
    Deny,
}

impl Policy {
    /// A policy of these roles; of two with the same name the later counts.
    #[must_use]
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Self {
        Self {
            roles: roles
                .into_iter()
                .map(|role| (role.name.clone(), role.finished()))
                .collect(),
        }
    }

    /// The roles that exist without a policy file.
    ///
    /// `device` is SPEC.md §7: its own topics, and its part of its groups' state. `operator` watches every device and
    /// group and the broker's own figures, and says what a device should become.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new([builtin_device(), builtin_operator()])
    }

    /// The same policy with one more role; it takes the place of one with the same name.
    #[must_use]
    pub fn with(mut self, role: Role) -> Self {
        self.roles.insert(role.name.clone(), role.finished());
        self
    }

    pub(super) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The names of the roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(|name| &**name)
    }

    /// The rules that speak of `action`, of all roles that the device has.
    pub(super) fn rules_for<'a>(
        &'a self,
        device: &'a Device,
        action: Action,
    ) -> impl Iterator<Item = (&'a Role, &'a Rule)> {
        device
            .roles
            .iter()
            .filter_map(|name| self.role(name))
            .flat_map(|role| role.rules.iter().map(move |rule| (role, rule)))
            .filter(move |(_, rule)| rule.actions.has(action))
    }
}

impl Role {
    /// A role without rules: it gives nothing.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            rules: Vec::new(),
        }
    }

    /// Adds a rule that allows.
    pub fn allow(self, actions: &[Action], patterns: &[&str]) -> Result<Self, PatternError> {
        self.rule(Effect::Allow, actions, patterns)
    }

    /// Adds a rule that denies.
    pub fn deny(self, actions: &[Action], patterns: &[&str]) -> Result<Self, PatternError> {
        self.rule(Effect::Deny, actions, patterns)
    }

    /// A role for clients that prove nothing: every action on the topics of `allow`, none on those of `deny`. Texts are
    /// topic filters; templates have nothing to be filled from.
    ///
    /// A subscription that reaches into `deny` is granted for the rest: what it must not have is held back at delivery.
    pub fn open(name: &str, allow: &[&str], deny: &[&str]) -> Result<Self, PatternError> {
        Self::new(name)
            .allow(&Action::ALL, allow)?
            .deny(&[Action::Publish, Action::Receive, Action::Retain], deny)
    }

    /// Adds a rule.
    pub fn rule(
        mut self,
        effect: Effect,
        actions: &[Action],
        patterns: &[&str],
    ) -> Result<Self, PatternError> {
        self.rules.push(Rule {
            effect,
            actions: ActionSet::of(actions),
            patterns: patterns
                .iter()
                .map(|text| Pattern::parse(text))
                .collect::<Result<_, _>>()?,
        });
        Ok(self)
    }

    pub(super) fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Without a rule of its own, `receive` follows `subscribe`: worked out here, once, so that a decision need not
    /// ask. What may be had through a share may be received as well; but a rule that denies only sharing must not stop
    /// what comes through a plain subscription.
    fn finished(mut self) -> Self {
        let own_rule = |rule: &Rule| rule.actions.has(Action::Receive);
        if !self.rules.iter().any(own_rule) {
            for rule in &mut self.rules {
                let follows = rule.actions.has(Action::Subscribe)
                    || rule.effect == Effect::Allow && rule.actions.has(Action::Share);
                if follows {
                    rule.actions = rule.actions.with(Action::Receive);
                }
            }
        }
        self
    }
}

impl Rule {
    /// The pattern by which the rule allows or denies what is asked.
    pub(super) fn hit<'a>(&'a self, device: &Device, asked: Asked<'_>) -> Option<&'a Pattern> {
        self.patterns.iter().find(|pattern| match self.effect {
            Effect::Allow => pattern.covers(device, asked),
            Effect::Deny => pattern.touches(device, asked),
        })
    }
}

/// Whether only the broker writes here, whatever the policy: nobody may fake that a device is present. What lies below
/// is kept free for forms of the same document.
pub(super) fn is_broker_only(topic: TopicName<'_>) -> bool {
    let mut levels = topic.levels();
    levels.next() == Some("devices") && levels.nth(1) == Some("presence")
}

#[expect(clippy::expect_used, reason = "constants; a test builds them")]
fn builtin_device() -> Role {
    use Action::{Publish, Retain, Subscribe};
    Role::new("device")
        .allow(
            &[Subscribe],
            &["devices/{device}/#", "groups/{group}/state/+"],
        )
        .and_then(|role| {
            role.allow(
                &[Publish, Retain],
                &["devices/{device}/#", "groups/{group}/state/{device}"],
            )
        })
        .and_then(|role| {
            role.deny(
                &[Publish, Retain],
                &["devices/{device}/desired/#", "devices/{device}/presence/#"],
            )
        })
        .expect("the patterns are well-formed")
}

#[expect(clippy::expect_used, reason = "constants; a test builds them")]
fn builtin_operator() -> Role {
    use Action::{Publish, Retain, Share, Subscribe};
    Role::new("operator")
        .allow(&[Subscribe], &["devices/#", "groups/#", "$SYS/#"])
        .and_then(|role| role.allow(&[Share], &["devices/#", "groups/#"]))
        .and_then(|role| role.allow(&[Publish, Retain], &["devices/+/desired"]))
        .expect("the patterns are well-formed")
}
