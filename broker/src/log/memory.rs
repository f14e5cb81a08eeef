use super::{Log, LogNumber, Op};
use std::sync::atomic::{AtomicU64, Ordering};

/// The log of a broker without a store: what is submitted counts as durable at once and ends with the process.
#[derive(Debug, Default)]
pub struct MemoryLog {
    last: AtomicU64,
}

impl Log for MemoryLog {
    fn submit(&self, ops: Vec<Op>) -> LogNumber {
        let count = ops.len() as u64;
        LogNumber(self.last.fetch_add(count, Ordering::AcqRel) + count)
    }

    fn durable(&self) -> LogNumber {
        LogNumber(self.last.load(Ordering::Acquire))
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}
