//! Publishes numbered messages at QoS 1 and 2 and sends again what was not acknowledged.
use std::collections::VecDeque;
use std::time::Duration;

use keygate_broker::rng::SeededRandom;
use keygate_protocol::mqtt::Qos;
use keygate_tests::clock::Stopwatch;

use crate::line::{Event, Line, Message, Name};
use crate::stage::{Phase, Stage};

/// Messages that may wait for their acknowledgement.
const WINDOW: usize = 8;
/// Milliseconds between two messages of a publisher, on average.
const PACE_MS: u128 = 12;
/// One in so many turns of its loop cuts the connection.
const CUT: u64 = 300;

/// A publisher and what it still has to complete.
pub(crate) struct Publisher {
    name: Name,
    /// Its two streams.
    streams: [usize; 2],
    flight: VecDeque<Flight>,
    last_id: u16,
    dice: SeededRandom,
}

/// A message without its last acknowledgement.
struct Flight {
    message: Message,
    stream: usize,
    number: u64,
    /// PUBREC has come: PUBREL is what is sent.
    received: bool,
}

impl Publisher {
    /// The publisher of the streams `2 * number` and the next.
    pub(crate) fn new(number: usize, name: Name, dice: SeededRandom) -> Self {
        Self {
            name,
            streams: [2 * number, 2 * number + 1],
            flight: VecDeque::new(),
            last_id: 0,
            dice,
        }
    }

    /// Begins the session and completes a message of each kind, so that the session is known to be durable.
    pub(crate) fn introduce(&mut self, stage: &Stage) {
        let Some(mut line) = Line::begin(stage, &self.name) else {
            return stage.wrong(&self.name.id, "cannot log in at the start");
        };
        self.issue(stage, &mut line, 0);
        self.issue(stage, &mut line, 1);
        while !self.flight.is_empty() {
            let event = line.hear(stage, &self.name.id, Duration::from_secs(20));
            if matches!(event, Event::Nothing | Event::Closed) {
                return stage.wrong(&self.name.id, "is not answered at the start");
            }
            self.take(stage, &mut line, event);
        }
    }

    /// Publishes until the crashes are over, then completes what is under way.
    pub(crate) fn work(&mut self, stage: &Stage) {
        let clock = Stopwatch::start();
        let mut sent: u128 = 0;
        while let Some(mut line) = Line::resume(stage, &self.name) {
            self.resend(&mut line);
            loop {
                let working = !stage.is_at(Phase::Completing);
                if !working && self.flight.is_empty() {
                    return;
                }
                if stage.is_at(Phase::Over) {
                    break;
                }
                let due = clock.elapsed().as_millis() / PACE_MS;
                if working && self.flight.len() < WINDOW && sent < due {
                    sent += 1;
                    let which = self.dice.below(2) as usize;
                    self.issue(stage, &mut line, which);
                }
                match line.hear(stage, &self.name.id, Duration::from_millis(5)) {
                    Event::Closed => break,
                    event => self.take(stage, &mut line, event),
                }
                if working && self.dice.below(CUT) == 0 {
                    break;
                }
            }
        }
        for flight in &self.flight {
            let what = format!(
                "number {} of {} is never acknowledged",
                flight.number, flight.message.topic
            );
            stage.wrong(&self.name.id, &what);
        }
    }

    fn issue(&mut self, stage: &Stage, line: &mut Line, which: usize) {
        let Some(&stream) = self.streams.get(which) else {
            return;
        };
        let of = &stage.streams[stream];
        let number = of.issue();
        let packet_id = self.free_id();
        let message = Message {
            topic: of.topic.clone(),
            payload: number.to_string().into_bytes(),
            packet_id,
            qos: of.qos,
            dup: false,
            retain: false,
        };
        line.publish(&message);
        self.flight.push_back(Flight {
            message,
            stream,
            number,
            received: false,
        });
    }

    fn free_id(&mut self) -> u16 {
        loop {
            // Few identifiers, so that they are used again soon.
            self.last_id = self.last_id % 40 + 1;
            let used = |flight: &Flight| flight.message.packet_id == self.last_id;
            if !self.flight.iter().any(used) {
                return self.last_id;
            }
        }
    }

    /// On a new connection: everything that is not complete, in its order (MQTT 5 §4.4).
    fn resend(&mut self, line: &mut Line) {
        for flight in &mut self.flight {
            if flight.received {
                line.pubrel(flight.message.packet_id);
            } else {
                flight.message.dup = true;
                line.publish(&flight.message);
            }
        }
    }

    fn take(&mut self, stage: &Stage, line: &mut Line, event: Event) {
        match event {
            Event::Puback(id, code) => self.complete(stage, id, Qos::AtLeastOnce, code),
            Event::Pubrec(id, code) if code < 0x80 => {
                let known = self.find(id).filter(|f| f.message.qos == Qos::ExactlyOnce);
                match known {
                    Some(flight) => flight.received = true,
                    None => stage.wrong(&self.name.id, "gets a PUBREC for nothing"),
                }
                line.pubrel(id);
            }
            Event::Pubrec(_, code) => {
                stage.wrong(&self.name.id, &format!("is refused: PUBREC {code:#04x}"));
            }
            Event::Pubcomp(id) => self.complete(stage, id, Qos::ExactlyOnce, 0),
            Event::Nothing | Event::Closed => {}
            other => stage.wrong(&self.name.id, &format!("did not expect {other:?}")),
        }
    }

    fn find(&mut self, id: u16) -> Option<&mut Flight> {
        let mut flights = self.flight.iter_mut();
        flights.find(|flight| flight.message.packet_id == id)
    }

    fn complete(&mut self, stage: &Stage, id: u16, qos: Qos, code: u8) {
        let fits = |flight: &Flight| {
            flight.message.packet_id == id
                && flight.message.qos == qos
                && (qos == Qos::AtLeastOnce || flight.received)
        };
        let Some(at) = self.flight.iter().position(fits) else {
            return stage.wrong(&self.name.id, "gets an acknowledgement for nothing");
        };
        if code >= 0x80 {
            stage.wrong(&self.name.id, &format!("is refused: PUBACK {code:#04x}"));
        }
        if let Some(done) = self.flight.remove(at) {
            stage.streams[done.stream].acknowledge(done.number);
        }
    }
}
