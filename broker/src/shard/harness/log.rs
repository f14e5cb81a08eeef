use std::sync::Mutex;

use crate::log::{Log, LogNumber, Op};

/// A log whose durable mark the test moves. A crash loses everything behind it.
#[derive(Debug, Default)]
pub(super) struct TestLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Each is durable as a whole or not at all.
    batches: Vec<Vec<Op>>,
    durable: usize,
}

impl TestLog {
    /// The disk has caught up with this many more batches.
    pub(super) fn sync(&self, count: usize) {
        let mut inner = self.0.lock().unwrap();
        inner.durable = (inner.durable + count).min(inner.batches.len());
    }

    pub(super) fn sync_all(&self) {
        self.sync(usize::MAX / 2);
    }

    /// What a broker that starts again after a crash now would find.
    pub(super) fn after_crash(&self) -> Vec<Op> {
        let inner = self.0.lock().unwrap();
        inner.batches[..inner.durable].concat()
    }
}

impl Log for TestLog {
    fn submit(&self, ops: Vec<Op>) -> LogNumber {
        let mut inner = self.0.lock().unwrap();
        inner.batches.push(ops);
        LogNumber(inner.batches.len() as u64)
    }

    fn durable(&self) -> LogNumber {
        LogNumber(self.0.lock().unwrap().durable as u64)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}
