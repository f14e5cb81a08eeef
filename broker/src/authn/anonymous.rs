//! Clients that prove nothing, on loopback listeners whose configuration lets them in: labs and interoperability suites.
use super::broker::{Accepted, Attempt, Attempted, Authn, Credentials};
use super::principal::Principal;
use super::rules::Suffix;
use crate::rng::Random;

impl Authn {
    /// Takes a CONNECT without any credentials, and never one that tried to prove something: a wrong password must not
    /// become a client without one. Nor one under the name of an enrolled device, which would keep that device from its
    /// own client id: whoever uses that name proves it.
    pub(super) fn try_anonymous(
        &self,
        attempted: &Attempted<'_>,
        credentials: Credentials<'_>,
        random: &mut dyn Random,
    ) -> Attempt {
        let Credentials::None = credentials else {
            return Attempt::NotTried;
        };
        let sent = attempted.connect.client_id;
        let first_level = sent.split_once('/').map_or(sent, |(first, _)| first);
        let revision = self.directory.revision();
        if self.directory.device(first_level).is_some() {
            return Attempt::NotTried;
        }
        let assigned = sent.is_empty().then(|| Suffix::new(random));
        let client_id = assigned.as_ref().map_or(sent, Suffix::as_str);
        Attempt::Accepted(Box::new(Accepted {
            principal: Principal::anonymous(client_id, revision),
            auth_data: None,
            client_id: client_id.into(),
            assigned: assigned.is_some(),
        }))
    }
}
