use std::sync::Mutex;

use crate::log::{Log, LogNumber, Op};

/// A log whose durable mark the test moves. A crash loses everything behind it.
#[derive(Debug, Default)]
pub(super) struct TestLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ops: Vec<Op>,
    durable: usize,
}

impl TestLog {
    /// The disk has caught up with this many more operations.
    pub(super) fn sync(&self, count: usize) {
        let mut inner = self.0.lock().unwrap();
        inner.durable = (inner.durable + count).min(inner.ops.len());
    }

    pub(super) fn sync_all(&self) {
        self.sync(usize::MAX / 2);
    }

    /// What a broker that starts again after a crash now would find.
    pub(super) fn after_crash(&self) -> Vec<Op> {
        let inner = self.0.lock().unwrap();
        inner.ops[..inner.durable].to_vec()
    }
}

impl Log for TestLog {
    fn submit(&self, ops: Vec<Op>) -> LogNumber {
        let mut inner = self.0.lock().unwrap();
        inner.ops.extend(ops);
        LogNumber(inner.ops.len() as u64)
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
