//! Where a run stands, for whoever watches it.

use crate::report::Logins;

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Phase {
    /// The watcher and the controller log in.
    #[default]
    Preparing,
    /// Devices arrive.
    Arriving,
    /// All devices were due; they report and are told.
    Running,
    /// Everything was due; what is under way arrives.
    Settling,
    /// Everybody says goodbye.
    Closing,
}

/// The numbers of a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// What is going on.
    pub phase: Phase,
    /// Since the first device was due, ms.
    pub elapsed_ms: u64,
    /// When the last thing is due, ms after the first device.
    pub end_ms: u64,
    /// How many devices there are.
    pub devices: u32,
    /// Logins so far.
    pub logins: Logins,
    /// Reports that the broker acknowledged.
    pub reports_acknowledged: u64,
    /// Reports that reached the watcher.
    pub reports_delivered: u64,
    /// Orders that reached their device.
    pub orders_delivered: u64,
    /// Messages of streams that reached their reader.
    pub streams_delivered: u64,
    /// Messages of which more is to be expected.
    pub messages_open: u64,
    /// Tokens fetched.
    pub tokens: u64,
    /// Impostors refused as they should be.
    pub impostors_refused: u64,
    /// Errors of any kind.
    pub errors: u64,
}

/// Is told where a run stands, a few times a second.
pub trait Progress: Send {
    /// A new moment.
    fn update(&mut self, snapshot: &Snapshot);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn update(&mut self, _: &Snapshot) {}
}

impl<F: FnMut(&Snapshot) + Send> Progress for F {
    fn update(&mut self, snapshot: &Snapshot) {
        self(snapshot);
    }
}
