use keygate_protocol::time::Millis;

/// A timer wheel: keys that come out, once each, when their time has come.
///
/// It holds no deadline of its own for a key: whoever gets a key back looks whether its deadline has really passed and
/// puts it back if not. So a deadline that moves with every packet (keep-alive) costs nothing until it is due.
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    slots: Vec<Vec<K>>,
    tick_ms: u64,
    /// The next tick to be taken.
    next: u64,
}

impl<K> Wheel<K> {
    /// A wheel of `slots` ticks of `tick_ms` each, whose first tick begins at `now`.
    pub(crate) fn new(slots: usize, tick_ms: u64, now: Millis) -> Self {
        Self {
            slots: std::iter::repeat_with(Vec::new).take(slots).collect(),
            tick_ms,
            next: now.0 / tick_ms,
        }
    }

    /// Puts a key in: it comes out at the first tick at or after `deadline`, or earlier if that lies beyond the wheel.
    pub(crate) fn insert(&mut self, key: K, deadline: Millis) {
        let tick = deadline.0.div_ceil(self.tick_ms).max(self.next);
        let last = self.next + self.slots.len() as u64 - 1;
        let index = self.index(tick.min(last));
        self.slots[index].push(key);
    }

    /// Takes out all keys whose tick has come, into a buffer that the caller reuses.
    pub(crate) fn advance(&mut self, now: Millis, due: &mut Vec<K>) {
        let current = now.0 / self.tick_ms;
        // After a long pause one round of the wheel is everything there is.
        let rounds = (current + 1)
            .saturating_sub(self.next)
            .min(self.slots.len() as u64);
        for tick in self.next..self.next + rounds {
            let index = self.index(tick);
            due.append(&mut self.slots[index]);
            if self.slots[index].capacity() > 64 {
                self.slots[index] = Vec::new();
            }
        }
        self.next = self.next.max(current + 1);
    }

    /// When the next tick with a key in it begins; `None` when the wheel is empty.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        (self.next..self.next + self.slots.len() as u64)
            .find(|&tick| !self.slots[self.index(tick)].is_empty())
            .map(|tick| Millis(tick * self.tick_ms))
    }

    fn index(&self, tick: u64) -> usize {
        (tick % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut keys = Vec::new();
        wheel.advance(Millis(now), &mut keys);
        keys
    }

    #[test]
    fn a_key_comes_out_once_and_never_before_its_deadline() {
        let mut wheel = Wheel::new(8, 100, Millis(0));
        wheel.insert(1, Millis(250));
        assert_eq!(wheel.next_due(), Some(Millis(300)));
        assert!(due(&mut wheel, 299).is_empty());
        assert_eq!(due(&mut wheel, 300), [1]);
        assert!(due(&mut wheel, 10_000).is_empty());
    }

    #[test]
    fn a_deadline_beyond_the_wheel_comes_out_early_to_be_put_back() {
        let mut wheel = Wheel::new(4, 100, Millis(0));
        wheel.insert(1, Millis(5_000));
        assert_eq!(due(&mut wheel, 300), [1]);
    }

    #[test]
    fn a_deadline_that_has_passed_comes_out_at_the_next_tick() {
        let mut wheel = Wheel::new(4, 100, Millis(0));
        assert!(due(&mut wheel, 1_000).is_empty());
        wheel.insert(1, Millis(3));
        assert_eq!(due(&mut wheel, 1_100), [1]);
    }

    #[test]
    fn a_long_pause_empties_the_wheel_once() {
        let mut wheel = Wheel::new(4, 100, Millis(0));
        for key in 0..4 {
            wheel.insert(key, Millis(u64::from(key) * 100));
        }
        let mut keys = due(&mut wheel, 1_000_000_000);
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3]);
        assert_eq!(wheel.next_due(), None);
    }
}
