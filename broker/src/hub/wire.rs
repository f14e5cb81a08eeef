//! Where the codec's packets meet the broker's buffers.
use keygate_protocol::sink::{CapacityError, Sink};

/// A write buffer as the codec's sink: it grows, so it is never full.
pub(crate) struct Wire<'b>(pub(crate) &'b mut Vec<u8>);

impl Sink for Wire<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Writes one packet, whole or not at all. A packet that MQTT cannot express (a field over 65,535 bytes) is a mistake
/// of ours; the peer sees nothing of it.
pub(crate) fn put(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Wire<'_>) -> Result<(), CapacityError>,
) {
    let before = out.len();
    if encode(&mut Wire(out)).is_err() {
        out.truncate(before);
        tracing::error!("a packet could not be encoded and was left out");
    }
}
