//! The decisions. Pure: a policy, who asks, what is asked; nothing is written down and, when the answer is yes, nothing
//! allocated.
use super::action::Action;
use super::pattern::Asked;
use super::permit::{Coverage, Denied, DeniedCause, Permit};
use super::policy::{Effect, Policy, is_broker_only};
use crate::authn::Principal;
use crate::identity::Device;
use keygate_protocol::topic::{TopicFilter, TopicName};

impl Policy {
    /// May `principal` send a message to `topic`, leaving it there if `retain`? Asked for PUBLISH and for wills.
    pub fn publish(
        &self,
        principal: &Principal,
        topic: TopicName<'_>,
        retain: bool,
    ) -> Result<Permit, Denied> {
        let device = &*principal.device;
        self.judge(device, Action::Publish, Asked::Name(topic))?;
        if retain {
            self.judge(device, Action::Retain, Asked::Name(topic))?;
        }
        Ok(Permit::new(Action::Publish, Coverage::Full))
    }

    /// May `principal` make this subscription? A shared one is judged by its filter, needs [`Action::Share`]
    /// and is granted for all that its filter matches or not at all.
    pub fn subscribe(
        &self,
        principal: &Principal,
        filter: TopicFilter<'_>,
    ) -> Result<Permit, Denied> {
        let action = match filter.share() {
            Some(_) => Action::Share,
            None => Action::Subscribe,
        };
        let device = &*principal.device;
        self.judge(device, action, Asked::Filter(filter.plain()))?;
        // Granted, but if nothing of it could ever be delivered, it is refused all the same.
        let coverage = self.coverage(device, Asked::Filter(filter.plain()))?;
        // A member that may not receive what it is handed would take it from the others.
        if filter.share().is_some() && coverage != Coverage::Full {
            return Err(denied(action, DeniedCause::NoRule));
        }
        Ok(Permit::new(action, coverage))
    }

    /// May `principal` be sent a message of `topic`? Asked at delivery where the filter is only partly covered, and for
    /// a Response Topic.
    pub fn receive(&self, principal: &Principal, topic: TopicName<'_>) -> Result<Permit, Denied> {
        self.judge(&principal.device, Action::Receive, Asked::Name(topic))?;
        Ok(Permit::new(Action::Receive, Coverage::Full))
    }

    /// How much of a filter `principal` may receive. Asked again for live subscriptions when rights change.
    #[must_use]
    pub fn classify(&self, principal: &Principal, filter: TopicFilter<'_>) -> Coverage {
        let asked = Asked::Filter(filter.plain());
        self.coverage(&principal.device, asked)
            .unwrap_or(Coverage::None)
    }

    /// Full or Partial, or why nothing can be received. Exact as far as single patterns decide; what only several deny
    /// patterns together cover is Partial, and each delivery says no.
    fn coverage(&self, device: &Device, asked: Asked<'_>) -> Result<Coverage, Denied> {
        let action = Action::Receive;
        if !device.is_active() {
            return Err(denied(action, DeniedCause::NotActive(device.state)));
        }
        let (mut covered, mut touched, mut cut) = (false, false, false);
        for (role, rule) in self.rules_for(device, action) {
            for pattern in &rule.patterns {
                match rule.effect {
                    Effect::Allow => {
                        covered = covered || pattern.covers(device, asked);
                        touched = touched || pattern.touches(device, asked);
                    }
                    Effect::Deny if pattern.covers(device, asked) => {
                        let (role, pattern) = (role.name(), pattern.text());
                        return Err(denied(action, DeniedCause::Rule { role, pattern }));
                    }
                    Effect::Deny => cut = cut || pattern.touches(device, asked),
                }
            }
        }
        match (touched, covered && !cut) {
            (false, _) => Err(denied(action, DeniedCause::NoRule)),
            (true, true) => Ok(Coverage::Full),
            (true, false) => Ok(Coverage::Partial),
        }
    }

    pub(super) fn judge(
        &self,
        device: &Device,
        action: Action,
        asked: Asked<'_>,
    ) -> Result<(), Denied> {
        if !device.is_active() {
            return Err(denied(action, DeniedCause::NotActive(device.state)));
        }
        if let (Action::Publish | Action::Retain, Asked::Name(topic)) = (action, asked) {
            if topic.is_reserved() {
                return Err(denied(action, DeniedCause::Reserved));
            }
            if is_broker_only(topic) {
                return Err(denied(action, DeniedCause::BrokerOnly));
            }
        }
        let mut allowed = false;
        for (role, rule) in self.rules_for(device, action) {
            match rule.effect {
                Effect::Allow => allowed = allowed || rule.hit(device, asked).is_some(),
                Effect::Deny => {
                    if let Some(pattern) = rule.hit(device, asked) {
                        let (role, pattern) = (role.name(), pattern.text());
                        return Err(denied(action, DeniedCause::Rule { role, pattern }));
                    }
                }
            }
        }
        match allowed {
            true => Ok(()),
            false => Err(denied(action, DeniedCause::NoRule)),
        }
    }
}

fn denied(action: Action, cause: DeniedCause) -> Denied {
    Denied { action, cause }
}
