//! Streams: phases of messages between partners, or from many devices to the watcher.
//!
//! Even devices send, the next odd one is their partner. Which stream a message belongs to travels with its number, in
//! the payload and in the tag that comes back with the acknowledgement.

use hdrhistogram::Histogram;

use super::crew::Crew;
use crate::clock::Micros;
use crate::identity::Member;
use crate::ledger::{Arrival, End, Ledger, Summary};
use crate::payload::Mark;
use crate::report::{StreamReport, histogram, numbers};
use crate::scenario::{Reader, Scenario};
use crate::session::Wanted;

/// What partners read.
const DIRECT: &str = "direct";
/// What the watcher reads.
const EVENTS: &str = "events";
/// The watcher's filter for it.
pub(super) const EVENTS_FILTER: &str = "devices/+/events";

/// The stream's place in a message's number. A day of messages every millisecond stays below this bit, so that numbers
/// without a stream mean what they always meant.
const STREAM_SHIFT: u32 = 28;

/// A message of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Part {
    pub(super) stream: u8,
    pub(super) sequence: u32,
}

impl Part {
    /// As one number, never below 2^28.
    pub(super) fn number(self) -> u32 {
        (u32::from(self.stream) + 1) << STREAM_SHIFT | self.sequence
    }

    /// From such a number; `None` for every number that is none.
    pub(super) fn of_number(number: u32) -> Option<Self> {
        let stream = u8::try_from(number >> STREAM_SHIFT).ok()?.checked_sub(1)?;
        let sequence = number & ((1 << STREAM_SHIFT) - 1);
        Some(Self { stream, sequence })
    }
}

/// Who sends as which sender.
pub(super) const fn sender(device: u32) -> Option<u32> {
    if device.is_multiple_of(2) {
        Some(device / 2)
    } else {
        None
    }
}

/// What a device subscribes to: its own topics, or, as a partner, what the device before it has to say.
pub(super) fn wanted(crew: &Crew, index: u32, id: &str) -> Wanted {
    match partner(crew, index) {
        Some(other) => Wanted {
            filter: format!("devices/{}/{DIRECT}", crew.cast.id(Member::Device(other))),
            no_local: false,
        },
        None => Wanted {
            filter: format!("devices/{id}/#"),
            no_local: true,
        },
    }
}

/// Whom a device listens to.
pub(super) fn partner(crew: &Crew, index: u32) -> Option<u32> {
    (crew.has_partners && !index.is_multiple_of(2)).then(|| index - 1)
}

/// Where a device stands in its streams, which come one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    stream: u8,
    sequence: u32,
}

impl Cursor {
    /// The device's next message, and when it is due.
    pub(super) fn next(&mut self, crew: &Crew, index: u32) -> Option<(Part, Micros)> {
        let sender = sender(index)?;
        loop {
            let stream = crew.streams.get(usize::from(self.stream))?;
            if sender < stream.senders && self.sequence < stream.count {
                let Self { stream, sequence } = *self;
                let due = crew.schedule.stream(stream, sender, sequence);
                return Some((Part { stream, sequence }, due));
            }
            *self = Self {
                stream: self.stream + 1,
                sequence: 0,
            };
        }
    }

    /// The next message went out.
    pub(super) fn advance(&mut self) {
        self.sequence += 1;
    }
}

/// The last level of a message's topic, and its size.
pub(super) fn shape(crew: &Crew, part: Part) -> (&'static str, u16) {
    match crew.streams.get(usize::from(part.stream)) {
        Some(stream) if stream.to == Reader::Watcher => (EVENTS, stream.payload_bytes),
        Some(stream) => (DIRECT, stream.payload_bytes),
        None => (DIRECT, 0),
    }
}

/// The message that a reader found, if it is one of the stream that the topic belongs to.
pub(super) fn found(crew: &Crew, topic: &str, mark: Mark, by: Reader) -> Option<Part> {
    let (owner, leaf) = crew.device_topic(topic)?;
    let expected = match by {
        Reader::Partner => DIRECT,
        Reader::Watcher => EVENTS,
    };
    let part = Part::of_number(mark.sequence)?;
    let to = crew.streams.get(usize::from(part.stream))?.to;
    (owner == mark.device && leaf == expected && to == by).then_some(part)
}

/// What was seen of the streams.
#[derive(Debug)]
pub(super) struct Streams(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    name: String,
    to: Reader,
    senders: u32,
    ledger: Ledger,
    ack: Histogram<u64>,
    delivery: Histogram<u64>,
}

impl Streams {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let seen = scenario.streams.iter().map(|stream| Seen {
            name: stream.name.clone(),
            to: stream.to,
            senders: stream.senders,
            ledger: Ledger::new(stream.senders, stream.count),
            ack: histogram(),
            delivery: histogram(),
        });
        Self(seen.collect())
    }

    /// Messages of which more is to be expected.
    pub(super) fn open(&self) -> u64 {
        self.0.iter().map(|seen| seen.ledger.open()).sum()
    }

    /// Messages that arrived.
    pub(super) fn delivered(&self) -> u64 {
        self.0.iter().map(|seen| seen.delivery.len()).sum()
    }

    pub(super) fn sent(&mut self, device: u32, part: Part) {
        if let Some((seen, sender)) = self.of(device, part) {
            seen.ledger.sent(sender, part.sequence);
        }
    }

    pub(super) fn acknowledged(&mut self, crew: &Crew, device: u32, part: Part, now: Micros) {
        if let Some((seen, sender)) = self.of(device, part) {
            seen.ledger.acknowledged(sender, part.sequence);
            let due = crew.schedule.stream(part.stream, sender, part.sequence);
            seen.ack.saturating_record(now.since(due));
        }
    }

    pub(super) fn refused(&mut self, device: u32, part: Part) {
        if let Some((seen, sender)) = self.of(device, part) {
            seen.ledger.refused(sender, part.sequence);
        }
    }

    pub(super) fn arrived(&mut self, crew: &Crew, from: u32, part: Part, dup: bool, now: Micros) {
        if let Some((seen, sender)) = self.of(from, part)
            && seen.ledger.delivered(sender, part.sequence, dup) == Arrival::First
        {
            let due = crew.schedule.stream(part.stream, sender, part.sequence);
            seen.delivery.saturating_record(now.since(due));
        }
    }

    /// Something arrived that belongs to no stream, or to somebody else.
    pub(super) fn strange(&mut self) {
        if let Some(seen) = self.0.first_mut() {
            seen.ledger.strange();
        }
    }

    /// A device is gone: nothing more comes from it, and its partner's messages reach nobody.
    pub(super) fn give_up(&mut self, device: u32) {
        for seen in &mut self.0 {
            let (pair, end) = (
                device / 2,
                sender(device).map_or(End::Receiver, |_| End::Sender),
            );
            if pair < seen.senders && (end == End::Sender || seen.to == Reader::Partner) {
                seen.ledger.give_up(pair, end);
            }
        }
    }

    pub(super) fn reports(&self) -> Vec<StreamReport> {
        let report = |seen: &Seen| StreamReport {
            name: seen.name.clone(),
            messages: seen.ledger.summary(),
            ack: numbers(&seen.ack),
            delivery: numbers(&seen.delivery),
        };
        self.0.iter().map(report).collect()
    }

    fn of(&mut self, device: u32, part: Part) -> Option<(&mut Seen, u32)> {
        let seen = self.0.get_mut(usize::from(part.stream))?;
        Some((seen, sender(device)?))
    }
}

/// All streams in one line.
pub(super) fn total(streams: &[StreamReport]) -> Summary {
    streams
        .iter()
        .fold(Summary::default(), |sum, stream| sum.plus(stream.messages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_its_stream_and_plain_numbers_none() {
        for stream in [0, 1, 7] {
            for sequence in [0, 1, (1 << STREAM_SHIFT) - 1] {
                let part = Part { stream, sequence };
                assert_eq!(Part::of_number(part.number()), Some(part));
            }
        }
        for plain in [0, 1, 86_400_000] {
            assert_eq!(Part::of_number(plain), None);
        }
    }
}
