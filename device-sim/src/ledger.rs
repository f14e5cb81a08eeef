//! The ledger: proves at the end that what was acknowledged arrived, once and in order.
//!
//! One byte a message: was it sent, acknowledged, delivered? A message is *open* until it is both acknowledged and
//! delivered, or can no longer be; when none is open, the run is over.

use serde::Serialize;

mod mark {
    pub(super) const SENT: u8 = 1;
    pub(super) const ACKNOWLEDGED: u8 = 2;
    pub(super) const DELIVERED: u8 = 4;
    /// One end is gone: nothing more can come of it.
    pub(super) const GIVEN_UP: u8 = 8;
}

/// What became of a message that arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// The first time.
    First,
    /// Again, and marked as such: at least once allows it.
    Redelivered,
    /// Again, as if for the first time.
    Duplicate,
    /// Never sent.
    Unknown,
}

/// Which end of a message went away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Whoever sent: no acknowledgement can come any more.
    Sender,
    /// Whoever should have received: no delivery can come any more.
    Receiver,
}

/// All messages of one direction.
///
/// ```
/// use device_sim::ledger::{Arrival, Ledger};
///
/// let mut ledger = Ledger::new(1, 2);
/// ledger.sent(0, 0);
/// ledger.acknowledged(0, 0);
/// assert_eq!(ledger.summary().lost, 1);
/// assert_eq!(ledger.delivered(0, 0, false), Arrival::First);
/// assert_eq!(ledger.summary().lost, 0);
/// assert_eq!(ledger.delivered(0, 0, false), Arrival::Duplicate);
/// ```
#[derive(Debug)]
pub struct Ledger {
    each: u32,
    marks: Vec<u8>,
    /// By device: one past the highest sequence number that arrived.
    next: Vec<u32>,
    open: u64,
    summary: Summary,
}

/// A ledger in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Messages that the schedule asked for.
    pub scheduled: u64,
    /// Handed to the network.
    pub sent: u64,
    /// Acknowledged by the broker.
    pub acknowledged: u64,
    /// Arrived at least once.
    pub delivered: u64,
    /// Acknowledged and never arrived.
    pub lost: u64,
    /// Sent and never acknowledged.
    pub unacknowledged: u64,
    /// Never sent, because an end was gone.
    pub unsent: u64,
    /// Arrived again without the DUP flag.
    pub duplicates: u64,
    /// Arrived again with the DUP flag: allowed at QoS 1.
    pub redelivered: u64,
    /// Arrived for the first time after a later one of the same device.
    pub reordered: u64,
    /// Arrived and was never sent, or on somebody else's topic.
    pub strange: u64,
    /// A device's own message that came back although it asked for none of its own (no-local).
    pub echoed: u64,
}

impl Summary {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            scheduled: self.scheduled + other.scheduled,
            sent: self.sent + other.sent,
            acknowledged: self.acknowledged + other.acknowledged,
            delivered: self.delivered + other.delivered,
            lost: self.lost + other.lost,
            unacknowledged: self.unacknowledged + other.unacknowledged,
            unsent: self.unsent + other.unsent,
            duplicates: self.duplicates + other.duplicates,
            redelivered: self.redelivered + other.redelivered,
            reordered: self.reordered + other.reordered,
            strange: self.strange + other.strange,
            echoed: self.echoed + other.echoed,
        }
    }
}

impl Ledger {
    /// A ledger for `each` messages of each device.
    #[must_use]
    pub fn new(devices: u32, each: u32) -> Self {
        let all = u64::from(devices) * u64::from(each);
        Self {
            each,
            marks: vec![0; usize::try_from(all).unwrap_or(usize::MAX)],
            next: vec![0; usize::try_from(devices).unwrap_or(usize::MAX)],
            open: all,
            summary: Summary {
                scheduled: all,
                ..Summary::default()
            },
        }
    }

    /// Messages of which more is to be expected.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.open
    }

    /// A message went to the network.
    pub fn sent(&mut self, device: u32, sequence: u32) {
        if self.set(device, sequence, mark::SENT) == Some(true) {
            self.summary.sent += 1;
        }
    }

    /// The broker acknowledged a message.
    pub fn acknowledged(&mut self, device: u32, sequence: u32) {
        if self.set(device, sequence, mark::ACKNOWLEDGED) == Some(true) {
            self.summary.acknowledged += 1;
        }
    }

    /// The broker refused a message: nothing more comes of it.
    pub fn refused(&mut self, device: u32, sequence: u32) {
        self.set(device, sequence, mark::GIVEN_UP);
    }

    /// A message arrived.
    pub fn delivered(&mut self, device: u32, sequence: u32, dup: bool) -> Arrival {
        let known = self
            .slot(device, sequence)
            .and_then(|slot| self.marks.get(slot));
        if known.is_none_or(|marks| marks & mark::SENT == 0) {
            self.summary.strange += 1;
            return Arrival::Unknown;
        }
        if self.set(device, sequence, mark::DELIVERED) == Some(false) {
            let (count, arrival) = if dup {
                (&mut self.summary.redelivered, Arrival::Redelivered)
            } else {
                (&mut self.summary.duplicates, Arrival::Duplicate)
            };
            *count += 1;
            return arrival;
        }
        self.summary.delivered += 1;
        if let Some(next) = usize::try_from(device)
            .ok()
            .and_then(|device| self.next.get_mut(device))
        {
            if sequence < *next {
                self.summary.reordered += 1;
            } else {
                *next = sequence.saturating_add(1);
            }
        }
        Arrival::First
    }

    /// Something arrived that nobody sent, or where it does not belong.
    pub fn strange(&mut self) {
        self.summary.strange += 1;
    }

    /// A device got its own message back.
    pub fn echoed(&mut self) {
        self.summary.echoed += 1;
    }

    /// A device is gone: what depended on it is no longer waited for. What was acknowledged still has to arrive, unless
    /// the device was the one to receive it.
    pub fn give_up(&mut self, device: u32, end: End) {
        for sequence in 0..self.each {
            let Some(marks) = self
                .slot(device, sequence)
                .and_then(|slot| self.marks.get(slot).copied())
            else {
                return;
            };
            let in_the_brokers_hands = marks & mark::ACKNOWLEDGED != 0;
            if end == End::Receiver || !in_the_brokers_hands {
                self.set(device, sequence, mark::GIVEN_UP);
            }
        }
    }

    /// The numbers, as if the run ended now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.summary;
        for marks in &self.marks {
            let has = |mark: u8| marks & mark != 0;
            if !has(mark::SENT) {
                summary.unsent += 1;
            } else if !has(mark::ACKNOWLEDGED) {
                summary.unacknowledged += 1;
            } else if !has(mark::DELIVERED) {
                summary.lost += 1;
            }
        }
        summary
    }

    fn slot(&self, device: u32, sequence: u32) -> Option<usize> {
        if sequence >= self.each {
            return None;
        }
        usize::try_from(u64::from(device) * u64::from(self.each) + u64::from(sequence)).ok()
    }

    /// Sets a mark; says whether it is new, and nothing for a message that does not exist.
    fn set(&mut self, device: u32, sequence: u32, mark: u8) -> Option<bool> {
        let slot = self.slot(device, sequence)?;
        let marks = self.marks.get_mut(slot)?;
        let closed = |marks: u8| {
            marks & mark::GIVEN_UP != 0
                || marks & (mark::ACKNOWLEDGED | mark::DELIVERED)
                    == (mark::ACKNOWLEDGED | mark::DELIVERED)
        };
        let before = *marks;
        *marks |= mark;
        if closed(*marks) && !closed(before) {
            self.open -= 1;
        }
        Some(before & mark == 0)
    }
}

impl Summary {
    /// Everything scheduled was sent, acknowledged and delivered, once, in order and to the right one.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.delivered == self.scheduled
            && self.acknowledged == self.scheduled
            && self.duplicates == 0
            && self.reordered == 0
            && self.strange == 0
            && self.echoed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Spread;

    #[test]
    fn a_clean_run_is_clean_and_over() {
        let mut ledger = Ledger::new(3, 4);
        for device in 0..3 {
            for sequence in 0..4 {
                ledger.sent(device, sequence);
                assert_eq!(ledger.delivered(device, sequence, false), Arrival::First);
                assert!(ledger.open() > 0);
                ledger.acknowledged(device, sequence);
            }
        }
        assert_eq!(ledger.open(), 0);
        assert!(ledger.summary().is_clean());
    }

    #[test]
    fn each_fault_is_counted_under_its_own_name() {
        let mut ledger = Ledger::new(2, 4);
        (0..4).for_each(|sequence| ledger.sent(0, sequence));
        (0..3).for_each(|sequence| ledger.acknowledged(0, sequence));
        assert_eq!(ledger.delivered(0, 1, false), Arrival::First);
        assert_eq!(ledger.delivered(0, 0, false), Arrival::First);
        assert_eq!(ledger.delivered(0, 1, true), Arrival::Redelivered);
        assert_eq!(ledger.delivered(0, 1, false), Arrival::Duplicate);
        assert_eq!(ledger.delivered(1, 0, false), Arrival::Unknown);
        assert_eq!(ledger.delivered(0, 4, false), Arrival::Unknown);
        assert_eq!(ledger.delivered(9, 0, false), Arrival::Unknown);
        let expected = Summary {
            scheduled: 8,
            sent: 4,
            acknowledged: 3,
            delivered: 2,
            lost: 1,
            unacknowledged: 1,
            unsent: 4,
            duplicates: 1,
            redelivered: 1,
            reordered: 1,
            strange: 3,
            echoed: 0,
        };
        assert_eq!(ledger.summary(), expected);
        assert!(!ledger.summary().is_clean());
    }

    #[test]
    fn a_lost_sender_leaves_open_only_what_was_acknowledged() {
        let mut ledger = Ledger::new(1, 3);
        ledger.sent(0, 0);
        ledger.acknowledged(0, 0);
        ledger.sent(0, 1);
        ledger.give_up(0, End::Sender);
        assert_eq!(ledger.open(), 1);
        ledger.delivered(0, 0, false);
        assert_eq!(ledger.open(), 0);
        let summary = ledger.summary();
        assert_eq!(
            (summary.lost, summary.unacknowledged, summary.unsent),
            (0, 1, 1)
        );
    }

    #[test]
    fn a_lost_receiver_leaves_nothing_open_and_still_counts_the_loss() {
        let mut ledger = Ledger::new(2, 1);
        ledger.sent(0, 0);
        ledger.acknowledged(0, 0);
        ledger.give_up(0, End::Receiver);
        ledger.give_up(0, End::Receiver);
        assert_eq!(ledger.open(), 1);
        assert_eq!(ledger.summary().lost, 1);
    }

    /// Any order of events: the numbers always add up, and `open` counts exactly what may still change.
    #[test]
    fn sums_hold_under_any_order_of_events() {
        for seed in 0..200_u64 {
            let spread = Spread::new(&format!("ledger-{seed}"));
            let (devices, each) = (5, 7);
            let mut ledger = Ledger::new(devices, each);
            for step in 0..400 {
                let draw = |stream, bound: u32| {
                    u32::try_from(spread.below(stream, step, 0, u64::from(bound)))
                        .expect("below a u32")
                };
                let (device, sequence) = (draw(1, devices), draw(2, each));
                match draw(3, 8) {
                    0..=2 => ledger.sent(device, sequence),
                    3..=4 => ledger.acknowledged(device, sequence),
                    5..=6 => {
                        ledger.delivered(device, sequence, draw(4, 2) == 0);
                    }
                    _ if step % 10 == 0 => ledger.give_up(device, End::Receiver),
                    _ => {}
                }
                let summary = ledger.summary();
                assert!(
                    ledger.open() <= summary.scheduled,
                    "seed {seed} step {step}"
                );
                assert!(summary.delivered <= summary.sent, "seed {seed} step {step}");
                assert!(
                    summary.lost + summary.unacknowledged + summary.unsent <= summary.scheduled
                );
            }
        }
    }
}
