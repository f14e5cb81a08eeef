//! Somebody who was there all the time and can say that nothing happened.
use keygate_protocol::mqtt::Qos;

use crate::admin;
use crate::broker::Broker;
use crate::device::Device;
use crate::session::Client;

/// An operator who watches everything that devices and groups say, and remembers how the identity store was.
pub struct Witness<'b> {
    broker: &'b Broker,
    client: Client,
    state: (u64, u64),
}

impl<'b> Witness<'b> {
    /// Begins to watch.
    ///
    /// # Panics
    /// When the broker does not let it.
    #[must_use]
    #[track_caller]
    pub fn of(broker: &'b Broker) -> Self {
        let operator = Device::new("the-witness").with_role("operator");
        broker.enrol([&operator]);
        let mut client = broker.log_in(&operator);
        for filter in ["devices/#", "groups/#"] {
            assert_eq!(client.subscribe(filter, Qos::AtLeastOnce), 1);
        }
        Self {
            broker,
            client,
            state: admin::state(&broker.data),
        }
    }

    /// Nothing was published, nobody was enrolled or changed, and the watcher's own session stands.
    ///
    /// # Panics
    /// When something happened.
    #[track_caller]
    pub fn nothing_happened(&mut self) {
        self.client.must_have_received_nothing();
        assert_eq!(
            admin::state(&self.broker.data),
            self.state,
            "the identity store changed"
        );
    }

    /// The watcher's session, for what did happen.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
