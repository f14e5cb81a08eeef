//! Receives, acknowledges in its own manner, and keeps the ledger of what it got.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keygate_broker::rng::SeededRandom;
use keygate_protocol::mqtt::Qos;
use keygate_tests::clock::idle;

use crate::line::{Event, Line, Message, Name};
use crate::stage::{Phase, Stage};

/// How a subscriber behaves while the broker crashes. When messages are drained, all of them acknowledge at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manners {
    /// Stays, and acknowledges at once.
    Steady,
    /// Cuts its connection now and then and comes back at once.
    Flaky,
    /// Acknowledges late.
    Slow,
    /// Is mostly away.
    Rare,
}

/// What the members of one share group got between them: how often each number of each stream.
pub(crate) type Union = Arc<Mutex<Vec<BTreeMap<u64, u32>>>>;

/// A subscriber with a session that outlives its connections.
pub(crate) struct Subscriber {
    pub(crate) name: Name,
    qos: Qos,
    filters: Vec<String>,
    manners: Manners,
    dice: SeededRandom,
    handshake: Handshake,
    ledger: Ledger,
}

/// What it got.
enum Ledger {
    /// A plain subscription to everything: the highest number of each stream. Numbers come without gaps and in order,
    /// because the publisher sends them so and nothing may be lost.
    Alone(Vec<u64>),
    /// Its share group's.
    Shared(Union),
}

/// A receiver's side of QoS 1 and 2, kept across connections.
#[derive(Default)]
pub(crate) struct Handshake {
    /// QoS 1, received and not acknowledged: must come again under the same identifier.
    unacknowledged: BTreeMap<u16, Message>,
    /// QoS 2, received and not released: the same identifier is the same message.
    unreleased: BTreeMap<u16, Message>,
    /// Answers that are still to be given on this connection.
    owed: VecDeque<(u16, Qos)>,
    /// Whether another session may get what this one did not acknowledge.
    pub(crate) shared: bool,
}

impl Handshake {
    /// Takes a message. Says whether it is a new one for whoever reads it.
    pub(crate) fn take(&mut self, stage: &Stage, who: &str, message: &Message) -> bool {
        let id = message.packet_id;
        let known = match message.qos {
            Qos::AtMostOnce => return true,
            Qos::AtLeastOnce => self.unacknowledged.insert(id, message.clone()),
            Qos::ExactlyOnce => match self.unreleased.get(&id) {
                Some(known) => Some(known.clone()),
                None => self.unreleased.insert(id, message.clone()),
            },
        };
        self.owed.push_back((id, message.qos));
        let Some(before) = known else { return true };
        let same = (&before.topic, &before.payload) == (&message.topic, &message.payload);
        if !same && !self.shared {
            let what = format!(
                "identifier {id} is {} {:?} and was {} {:?}, which is not acknowledged",
                message.topic, message.payload, before.topic, before.payload
            );
            stage.wrong(who, &what);
        }
        if same && !message.dup {
            stage.wrong(who, "a message comes again without DUP");
        }
        message.qos == Qos::AtLeastOnce
    }

    /// Gives the oldest answer that is owed.
    pub(crate) fn answer(&mut self, line: &mut Line) {
        match self.owed.pop_front() {
            Some((id, Qos::ExactlyOnce)) => line.pubrec(id),
            Some((id, _)) => {
                self.unacknowledged.remove(&id);
                line.puback(id);
            }
            None => {}
        }
    }

    /// PUBREL: the message is complete.
    pub(crate) fn release(&mut self, line: &mut Line, id: u16) {
        self.unreleased.remove(&id);
        line.pubcomp(id);
    }

    /// The connection is gone, and with it the answers that were owed on it.
    pub(crate) fn cut(&mut self) {
        self.owed.clear();
        if self.shared {
            // The group gives these to whoever is there.
            self.unacknowledged.clear();
        }
    }

    /// Whether nothing is half done.
    pub(crate) fn is_done(&self) -> bool {
        self.unacknowledged.is_empty() && self.unreleased.is_empty() && self.owed.is_empty()
    }
}

impl Subscriber {
    /// Subscribes to everything by these filters.
    pub(crate) fn alone(
        name: Name,
        qos: Qos,
        filters: &[&str],
        manners: Manners,
        seed: u64,
    ) -> Self {
        Self {
            name,
            qos,
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
            manners,
            dice: SeededRandom::new(seed),
            handshake: Handshake::default(),
            ledger: Ledger::Alone(Vec::new()),
        }
    }

    /// The same as a member of a share group.
    pub(crate) fn shared(self, union: &Union) -> Self {
        Self {
            ledger: Ledger::Shared(Arc::clone(union)),
            handshake: Handshake {
                shared: true,
                ..Handshake::default()
            },
            ..self
        }
    }

    /// Begins the session and its subscriptions.
    pub(crate) fn introduce(&mut self, stage: &Stage) {
        if let Ledger::Alone(highest) = &mut self.ledger {
            highest.resize(stage.streams.len(), 0);
        }
        let Some(mut line) = Line::begin(stage, &self.name) else {
            return stage.wrong(&self.name.id, "cannot log in at the start");
        };
        for (number, filter) in (1..).zip(&self.filters) {
            line.subscribe(number, filter, self.qos);
            let event = line.hear(stage, &self.name.id, Duration::from_secs(20));
            if event != Event::Suback(number, self.qos as u8) {
                stage.wrong(
                    &self.name.id,
                    &format!("{filter} is not granted: {event:?}"),
                );
            }
        }
    }

    /// Receives until everything that was published has come.
    pub(crate) fn work(&mut self, stage: &Stage) {
        while let Some(mut line) = Line::resume(stage, &self.name) {
            let done = self.connected(stage, &mut line);
            self.handshake.cut();
            drop(line);
            if done {
                return;
            }
            if self.manners == Manners::Rare && !stage.is_at(Phase::Completing) {
                idle(Duration::from_millis(100 + self.dice.below(700)));
            }
        }
        let missing = self.missing(stage);
        let half = !self.handshake.is_done();
        if !missing.is_empty() || half {
            let half = if half {
                "; a handshake is not complete"
            } else {
                ""
            };
            stage.wrong(
                &self.name.id,
                &format!("LOST: {}{half}", missing.join(", ")),
            );
        }
    }

    /// One connection. Says whether everything is here.
    fn connected(&mut self, stage: &Stage, line: &mut Line) -> bool {
        let who = self.name.id.clone();
        let mut quiet = 0;
        loop {
            let event = line.hear(stage, &who, Duration::from_millis(20));
            let is_silent = matches!(event, Event::Nothing | Event::Pingresp);
            match event {
                Event::Message(message) => {
                    if self.handshake.take(stage, &who, &message) {
                        self.count(stage, &message);
                    }
                }
                Event::Pubrel(id) => self.handshake.release(line, id),
                Event::Closed => return false,
                Event::Nothing | Event::Pingresp => {}
                other => stage.wrong(&who, &format!("did not expect {other:?}")),
            }
            let gentle = stage.is_at(Phase::Completing);
            if gentle || self.manners != Manners::Slow || self.dice.below(3) == 0 {
                self.handshake.answer(line);
            }
            let cut = match self.manners {
                _ if gentle => false,
                Manners::Steady => false,
                Manners::Flaky => self.dice.below(150) == 0,
                Manners::Slow => self.dice.below(100) == 0,
                Manners::Rare => self.dice.below(80) == 0,
            };
            if cut || stage.is_at(Phase::Over) {
                return false;
            }
            // Answers are taken in order: after three pings in silence the broker has dealt with all of ours.
            let complete = stage.is_at(Phase::Draining)
                && is_silent
                && self.handshake.is_done()
                && self.missing(stage).is_empty();
            quiet = if complete { quiet + 1 } else { 0 };
            if complete {
                line.ping();
            }
            if quiet > 6 {
                return true;
            }
        }
    }

    fn count(&mut self, stage: &Stage, message: &Message) {
        let who = &self.name.id;
        let Some((stream, number)) = stage.read(&message.topic, &message.payload) else {
            return stage.wrong(who, &format!("nobody published {message:?}"));
        };
        let of = &stage.streams[stream];
        if message.qos != of.qos.min(self.qos) {
            stage.wrong(who, &format!("QoS {:?} on {}", message.qos, of.topic));
        }
        let exactly_once = message.qos == Qos::ExactlyOnce;
        match &mut self.ledger {
            Ledger::Alone(highest) => {
                let highest = &mut highest[stream];
                if number == *highest + 1 {
                    *highest = number;
                } else if number > *highest {
                    let what = format!(
                        "LOST or out of order: number {number} of {} behind {highest}",
                        of.topic
                    );
                    stage.wrong(who, &what);
                    *highest = number;
                } else if exactly_once {
                    let what = format!(
                        "number {number} of {} twice at QoS 2: {message:?}",
                        of.topic
                    );
                    stage.wrong(who, &what);
                } else if of.qos == Qos::ExactlyOnce && !message.dup {
                    let what = format!("number {number} of {} again without DUP", of.topic);
                    stage.wrong(who, &what);
                }
            }
            Ledger::Shared(union) => {
                let mut union = union.lock().expect("nobody panics with it");
                let times = union[stream].entry(number).or_default();
                *times += 1;
                if exactly_once && *times > 1 {
                    let what = format!(
                        "number {number} of {} twice in the group at QoS 2: {message:?}",
                        of.topic
                    );
                    stage.wrong(who, &what);
                }
            }
        }
    }

    /// What was published and is not here.
    fn missing(&self, stage: &Stage) -> Vec<String> {
        let streams = stage.streams.iter().enumerate();
        match &self.ledger {
            Ledger::Alone(highest) => streams
                .filter(|(stream, of)| highest[*stream] < of.issued())
                .map(|(stream, of)| {
                    format!(
                        "{} from {} to {}",
                        of.topic,
                        highest[stream] + 1,
                        of.issued()
                    )
                })
                .collect(),
            Ledger::Shared(union) => {
                let union = union.lock().expect("nobody panics with it");
                streams
                    .filter(|(stream, of)| (union[*stream].len() as u64) < of.issued())
                    .map(|(stream, of)| {
                        let lost = (1..=of.issued()).filter(|n| !union[stream].contains_key(n));
                        format!("{} {:?}", of.topic, lost.take(5).collect::<Vec<_>>())
                    })
                    .collect()
            }
        }
    }
}
