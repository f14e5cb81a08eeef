//! A login that is bound to its TLS channel (SPEC.md §4.8): the challenge came, and the exporter's value is needed.

use keygate_protocol::login::device::{Challenged, DeviceError};
use keygate_protocol::login::{BROKER_NONCE_LEN, ExporterValue};
use keygate_protocol::mqtt::Packet;

use super::login::{self, Key, Plan};
use super::state::State;
use super::{Failure, Stage};

/// Gives the TLS exporter's value (label [`EXPORTER_LABEL`](keygate_protocol::login::EXPORTER_LABEL)) for a context.
pub type Export<'e> = dyn FnMut(&[u8; BROKER_NONCE_LEN]) -> Result<ExporterValue, Failure> + 'e;

/// The challenge came.
#[derive(Debug)]
pub(super) struct AwaitExporter<'a> {
    pub(super) challenged: Challenged<'a>,
    pub(super) key: Key,
    pub(super) plan: Plan,
}

impl<'a> AwaitExporter<'a> {
    pub(super) fn bind(
        self,
        export: &mut Export<'_>,
        out: &mut Vec<u8>,
    ) -> Result<State<'a>, Failure> {
        let context = self.challenged.exporter_context();
        let value = export(context.ok_or(Failure::Broker(DeviceError::BindingValue))?)?;
        login::answer(self.challenged, Some(&value), self.key, self.plan, out)
    }

    /// The broker has nothing to say before the proof but that it changed its mind.
    pub(super) fn handle(packet: &Packet<'_>) -> Failure {
        State::out_of_order(Stage::Challenge, packet)
    }
}
