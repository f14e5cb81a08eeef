//! One shared string for each name of a role, group or gateway, however many devices carry it.
use std::collections::BTreeSet;
use std::sync::Arc;

/// Size from which unused names are looked for.
const SWEEP_FROM: usize = 1_024;

/// The names in use.
#[derive(Debug)]
pub(super) struct Names {
    shared: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            shared: BTreeSet::new(),
            sweep_at: SWEEP_FROM,
        }
    }
}

impl Names {
    /// The shared string that reads `name`.
    pub(super) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        self.adopt(&new);
        new
    }

    /// Takes over a string that a loaded record already shares.
    pub(super) fn adopt(&mut self, name: &Arc<str>) {
        if self.shared.len() >= self.sweep_at {
            // Names that only this table still holds belonged to records that are gone. Doubling keeps sweeps rare.
            self.shared.retain(|n| Arc::strong_count(n) > 1);
            self.sweep_at = (self.shared.len() * 2).max(SWEEP_FROM);
        }
        self.shared.insert(Arc::clone(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_string() {
        let mut names = Names::default();
        let a = names.share("device");
        assert!(Arc::ptr_eq(&a, &names.share("device")));
        assert!(!Arc::ptr_eq(&a, &names.share("operator")));
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let mut names = Names::default();
        let kept = names.share("kept");
        for i in 0..10 * SWEEP_FROM {
            drop(names.share(&format!("n{i}")));
        }
        assert!(names.shared.len() <= SWEEP_FROM, "{}", names.shared.len());
        assert!(Arc::ptr_eq(&kept, &names.share("kept")));
    }
}
