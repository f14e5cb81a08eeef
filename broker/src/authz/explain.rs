//! "Why?", answered for people: the decision of [`Policy`] with every rule that had a part in it.
use super::action::Action;
use super::pattern::Asked;
use super::permit::Denied;
use super::policy::{Effect, Policy};
use crate::identity::Device;
use keygate_protocol::topic::{FilterError, NameError, TopicFilter, TopicName};

/// The answer to `keygate policy explain`.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// The decision.
    pub granted: bool,
    /// Why not, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// The rules that touch what was asked, in the order in which they are read.
    pub rules: Vec<RuleSeen>,
    /// Roles of the device that the policy does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_roles: Vec<Box<str>>,
}

/// One rule that touches what was asked.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct RuleSeen {
    /// The role that holds it.
    pub role: Box<str>,
    /// What it does.
    pub effect: Effect,
    /// The pattern.
    pub pattern: Box<str>,
    /// Whether all of what was asked lies inside the pattern: an allow rule that covers only part grants nothing.
    pub whole: bool,
}

/// The question makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExplainError {
    /// Subscribe and share are asked of filters.
    #[error("not a topic filter: {0}")]
    Filter(FilterError),
    /// Everything else is asked of topic names.
    #[error("not a topic name: {0}")]
    Name(NameError),
}

impl Policy {
    /// Decides like the broker does, and shows the rules.
    pub fn explain(
        &self,
        device: &Device,
        action: Action,
        topic: &str,
    ) -> Result<Explanation, ExplainError> {
        let asked = match action {
            Action::Share | Action::Subscribe => Asked::Filter(
                TopicFilter::new(topic)
                    .map_err(ExplainError::Filter)?
                    .plain(),
            ),
            Action::Publish | Action::Receive | Action::Retain => {
                Asked::Name(TopicName::new(topic).map_err(ExplainError::Name)?)
            }
        };
        let decision = self.judge(device, action, asked);
        let rules = self
            .rules_for(device, action)
            .flat_map(|(role, rule)| rule.patterns.iter().map(move |p| (role, rule, p)))
            .filter(|(_, _, pattern)| pattern.touches(device, asked))
            .map(|(role, rule, pattern)| RuleSeen {
                role: (*role.name()).into(),
                effect: rule.effect,
                pattern: pattern.as_str().into(),
                whole: pattern.covers(device, asked),
            })
            .collect();
        Ok(Explanation {
            granted: decision.is_ok(),
            denied: decision.err().as_ref().map(Denied::to_string),
            rules,
            unknown_roles: device
                .roles
                .iter()
                .filter(|name| self.role(name).is_none())
                .map(|name| (**name).into())
                .collect(),
        })
    }
}
