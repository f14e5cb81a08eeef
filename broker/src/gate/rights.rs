use super::Gate;
use crate::authn::{Owner, Principal};
use crate::authz::Permit;
use crate::hub::{Cause, Rights, Standing, Voice};
use crate::identity::{DeviceState, Revision};
use crate::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::{TopicFilter, TopicName};

impl Rights for Gate {
    fn revision(&self) -> Revision {
        self.directory.revision()
    }

    fn standing(&self, principal: &Principal, wall: UnixTime) -> Standing {
        if principal.is_expired(wall) {
            return Standing::Over(Cause::Expired);
        }
        if principal.revision == self.directory.revision() {
            return Standing::Unchanged;
        }
        match self.authn.recheck(principal, wall) {
            Ok(principal) => Standing::Changed(Box::new(principal)),
            Err(refusal) => Standing::Over(match refusal.reason {
                RefusalReason::DeviceSuspended | RefusalReason::DevicePending => Cause::Suspended,
                RefusalReason::KeyExpired => Cause::Expired,
                _ => Cause::Revoked,
            }),
        }
    }

    fn subscribe(&self, principal: &Principal, filter: TopicFilter<'_>) -> Option<Permit> {
        self.policy.subscribe(principal, filter).ok()
    }

    fn publish(&self, principal: &Principal, topic: TopicName<'_>, retain: bool) -> Option<Permit> {
        self.policy.publish(principal, topic, retain).ok()
    }

    fn may_receive(&self, principal: &Principal, topic: TopicName<'_>) -> bool {
        self.policy.receive(principal, topic).is_ok()
    }

    fn voice(&self, publisher: &str) -> Voice {
        match self.directory.device(publisher).map(|device| device.state) {
            Some(DeviceState::Active) => Voice::Heard,
            Some(DeviceState::Suspended | DeviceState::Pending) => Voice::Hidden,
            Some(DeviceState::Revoked) | None => Voice::Gone,
        }
    }

    fn principal(&self, owner: &Owner) -> Option<Principal> {
        let revision = self.directory.revision();
        match owner {
            Owner::Anonymous(client_id) => Some(Principal::anonymous(client_id, revision)),
            Owner::Device(id) => {
                let device = self.directory.device(id)?;
                (device.state != DeviceState::Revoked).then_some(Principal {
                    device,
                    key_id: None,
                    // Its next login says how it proves itself.
                    method: Method::KgEd25519,
                    expires_at: None,
                    revision,
                })
            }
        }
    }
}
