use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::{OnFault, end_process};
use crate::limits::{Limits, Reached};

/// How a log on disk works.
#[derive(Clone)]
pub struct LogSettings {
    /// Microseconds between the starts of two commits.
    pub commit_us: u64,
    /// Operations that may wait to be durable before there is no more room.
    pub window_ops: usize,
    /// Bytes of them.
    pub window_bytes: usize,
    /// Bytes that are set aside for a full disk.
    pub reserve_bytes: u64,
    /// When it is.
    pub clock: Arc<dyn Clock>,
    /// How often the bounds were reached.
    pub reached: Arc<Reached>,
    /// What happens when the disk fails.
    pub on_fault: OnFault,
}

impl LogSettings {
    /// What the bounds say; a fault ends the process.
    #[must_use]
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        // A window that finds the disk full stands in the write-ahead log and in the database.
        let twice = limits.log_window_bytes.saturating_mul(2) as u64;
        Self {
            commit_us: limits.log_commit_ms.saturating_mul(1_000),
            window_ops: limits.log_window_ops,
            window_bytes: limits.log_window_bytes,
            reserve_bytes: limits.reserve_bytes.max(twice),
            clock,
            reached: Arc::default(),
            on_fault: end_process(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_reserve_holds_a_window_twice() {
        let limits = Limits {
            log_window_bytes: 1 << 30,
            ..Limits::default()
        };
        let settings = LogSettings::new(&limits, Arc::new(ManualClock::default()));
        assert_eq!(settings.reserve_bytes, 2 << 30);
        let settings = LogSettings::new(&Limits::default(), Arc::new(ManualClock::default()));
        assert_eq!(settings.reserve_bytes, Limits::default().reserve_bytes);
        assert_eq!(settings.commit_us, 2_000);
    }
}
