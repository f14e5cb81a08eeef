/// When to commit: at once if the last commit began long enough ago, else when that is so.
///
/// Counted from the start of a commit and not from its end, so that a slow fsync does not wait on top.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cadence {
    apart_us: u64,
    began: Option<u64>,
}

impl Cadence {
    /// Commits begin this many microseconds apart at least.
    pub(super) fn new(apart_us: u64) -> Self {
        Self {
            apart_us,
            began: None,
        }
    }

    /// Microseconds until the next commit may begin.
    pub(super) fn wait(&self, now_us: u64) -> u64 {
        self.began.map_or(0, |began| {
            began.saturating_add(self.apart_us).saturating_sub(now_us)
        })
    }

    /// A commit begins.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.began = Some(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_commit_and_one_after_a_pause_do_not_wait() {
        let mut cadence = Cadence::new(2_000);
        assert_eq!(cadence.wait(5), 0);
        cadence.begin(5);
        assert_eq!(cadence.wait(5), 2_000);
        assert_eq!(cadence.wait(1_005), 1_000);
        assert_eq!(cadence.wait(2_004), 1);
        assert_eq!(cadence.wait(2_005), 0);
        assert_eq!(cadence.wait(9_000_000), 0);
    }

    #[test]
    fn a_slow_commit_does_not_make_the_next_one_wait() {
        let mut cadence = Cadence::new(2_000);
        cadence.begin(0);
        // It took until 7,000.
        assert_eq!(cadence.wait(7_000), 0);
    }

    /// Submissions at 20,000 a second: 500 commits, each within 2 ms of what it carries.
    #[test]
    fn under_load_commits_begin_at_the_marks() {
        let mut cadence = Cadence::new(2_000);
        let (mut commits, mut now, mut waited_most) = (0, 0, 0);
        let mut submitted = 0;
        while submitted < 1_000_000 {
            let wait = cadence.wait(now);
            waited_most = waited_most.max(wait);
            now += wait;
            cadence.begin(now);
            commits += 1;
            // An fsync of 300 µs; what came meanwhile waits for the next mark.
            now += 300;
            submitted = now;
        }
        assert!((500..=501).contains(&commits));
        assert!(waited_most <= 2_000);
    }
}
