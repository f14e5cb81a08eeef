use std::path::PathBuf;

use super::{Change, Changes, Revision, Snapshot, Store, StoreError};
use crate::disk::{Fault, OnFault};

/// A store in service: after an [uncertain](StoreError::is_uncertain) write somebody is called, who ends the process.
pub struct EndOnFault<S> {
    store: S,
    path: PathBuf,
    on_fault: OnFault,
}

impl<S: Store> EndOnFault<S> {
    /// Calls `on_fault` for this store, which keeps its records in the file at `path`.
    #[must_use]
    pub fn new(store: S, path: PathBuf, on_fault: OnFault) -> Self {
        Self {
            store,
            path,
            on_fault,
        }
    }
}

impl<S: Store> Store for EndOnFault<S> {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.store.load()
    }

    fn apply(&mut self, batch: &[Change]) -> Result<Revision, StoreError> {
        self.store.apply(batch).inspect_err(|error| {
            if let StoreError::Uncertain { detail } = error {
                (self.on_fault)(&Fault {
                    path: self.path.clone(),
                    detail: detail.clone(),
                });
            }
        })
    }

    fn changes_since(&mut self, revision: Revision) -> Result<Changes, StoreError> {
        self.store.changes_since(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Failing(StoreError);

    impl Store for Failing {
        fn load(&mut self) -> Result<Snapshot, StoreError> {
            Err(self.0.clone())
        }
        fn apply(&mut self, _: &[Change]) -> Result<Revision, StoreError> {
            Err(self.0.clone())
        }
        fn changes_since(&mut self, _: Revision) -> Result<Changes, StoreError> {
            Err(self.0.clone())
        }
    }

    #[test]
    fn only_an_uncertain_write_is_a_fault() {
        let uncertain = StoreError::Uncertain {
            detail: "fsync".into(),
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        for error in [StoreError::DiskFull, StoreError::Busy, uncertain.clone()] {
            let seen = Arc::clone(&seen);
            let on_fault: OnFault = Arc::new(move |fault| seen.lock().unwrap().push(fault.clone()));
            let mut store = EndOnFault::new(Failing(error.clone()), "x.db".into(), on_fault);
            assert_eq!(store.load(), Err(error.clone()));
            assert_eq!(store.changes_since(Revision(0)), Err(error.clone()));
            assert_eq!(store.apply(&[]), Err(error));
        }
        let fault = Fault {
            path: "x.db".into(),
            detail: "fsync".into(),
        };
        assert_eq!(*seen.lock().unwrap(), [fault]);
    }
}
