//! Subscribes and unsubscribes again and again: what SUBACK and UNSUBACK said must hold after a crash.
use std::collections::BTreeSet;
use std::time::Duration;

use keygate_protocol::mqtt::Qos;

use crate::line::{Event, Line, Message, Name};
use crate::stage::{Phase, Stage, Stream};
use crate::subscriber::Handshake;

/// Messages that must pass before it changes its mind.
const PASSES: u64 = 3;

/// A subscriber that changes its mind about one stream.
pub(crate) struct Toggler {
    name: Name,
    qos: Qos,
    stream: usize,
    line: Option<Line>,
    handshake: Handshake,
    got: BTreeSet<u64>,
    /// After UNSUBACK: what is published from here on must not come.
    forbidden_above: Option<u64>,
}

impl Toggler {
    pub(crate) fn new(name: Name, qos: Qos, stream: usize) -> Self {
        Self {
            name,
            qos,
            stream,
            line: None,
            handshake: Handshake::default(),
            got: BTreeSet::new(),
            forbidden_above: None,
        }
    }

    /// Begins the session.
    pub(crate) fn introduce(&mut self, stage: &Stage) {
        self.line = Line::begin(stage, &self.name);
        self.ask(stage, true);
        self.ask(stage, false);
        self.drop_line();
    }

    /// Changes its mind until the crashes are over. Ends without a subscription.
    pub(crate) fn work(&mut self, stage: &Stage) {
        let stream: &Stream = &stage.streams[self.stream];
        while !stage.is_at(Phase::Completing) {
            self.forbidden_above = None;
            self.ask(stage, true);
            let from = stream.issued();
            self.until(stage, |_| stream.acked() >= from + PASSES);
            let upto = stream.acked();
            let all = |got: &BTreeSet<u64>| (from + 1..=upto).all(|number| got.contains(&number));
            while !all(&self.got) && !stage.is_at(Phase::Over) {
                self.hear(stage);
            }
            if !all(&self.got) {
                let what = format!(
                    "LOST: subscribed at {from} of {}, not all to {upto}",
                    stream.topic
                );
                stage.wrong(&self.name.id, &what);
            }
            self.ask(stage, false);
            let limit = stream.issued();
            self.forbidden_above = Some(limit);
            self.until(stage, |_| stream.issued() >= limit + PASSES);
        }
        let mut quiet = 0;
        while quiet < 10 && !stage.is_at(Phase::Over) {
            let silent = self.hear(stage) == Some(Event::Nothing);
            let done = silent && stage.is_at(Phase::Draining) && self.handshake.is_done();
            quiet = if done { quiet + 1 } else { 0 };
        }
        if !self.handshake.is_done() {
            stage.wrong(&self.name.id, "a handshake is not complete");
        }
        self.drop_line();
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE on one connection after the other until it is answered.
    fn ask(&mut self, stage: &Stage, wanted: bool) {
        let (topic, qos) = (stage.streams[self.stream].topic.clone(), self.qos);
        while !stage.is_at(Phase::Over) {
            let Some(line) = self.line(stage) else { return };
            match wanted {
                true => line.subscribe(60_001, &topic, qos),
                false => line.unsubscribe(60_002, &topic),
            }
            while let Some(event) = self.hear(stage) {
                match event {
                    Event::Suback(60_001, code) if wanted => {
                        if code != self.qos as u8 {
                            stage.wrong(&self.name.id, &format!("SUBACK {code:#04x}"));
                        }
                        return;
                    }
                    Event::Unsuback(60_002) if !wanted => return,
                    _ if stage.is_at(Phase::Over) => return,
                    _ => {}
                }
            }
        }
    }

    /// Goes on until then, or until the crashes are over.
    fn until(&mut self, stage: &Stage, then: impl Fn(&Self) -> bool) {
        while !then(self) && !stage.is_at(Phase::Completing) {
            self.hear(stage);
        }
    }

    fn line(&mut self, stage: &Stage) -> Option<&mut Line> {
        if self.line.is_none() {
            self.line = Line::resume(stage, &self.name);
        }
        self.line.as_mut()
    }

    fn drop_line(&mut self) {
        self.line = None;
        self.handshake.cut();
    }

    /// Deals with what comes next; none if the connection is gone.
    fn hear(&mut self, stage: &Stage) -> Option<Event> {
        let who = self.name.id.clone();
        let event = self
            .line(stage)?
            .hear(stage, &who, Duration::from_millis(10));
        if event == Event::Closed {
            self.drop_line();
            return None;
        }
        if let Event::Message(message) = &event
            && self.handshake.take(stage, &who, message)
        {
            self.count(stage, message);
        }
        if let Some(line) = self.line.as_mut() {
            self.handshake.answer(line);
            if let Event::Pubrel(id) = event {
                self.handshake.release(line, id);
            }
        }
        Some(event)
    }

    fn count(&mut self, stage: &Stage, message: &Message) {
        let known = stage.read(&message.topic, &message.payload);
        let Some((_, number)) = known.filter(|(stream, _)| *stream == self.stream) else {
            return stage.wrong(&self.name.id, &format!("did not ask for {message:?}"));
        };
        if self.forbidden_above.is_some_and(|limit| number > limit) {
            let what = format!("number {number} of {} after UNSUBACK", message.topic);
            stage.wrong(&self.name.id, &what);
        }
        let again = !self.got.insert(number);
        if again && message.qos == Qos::ExactlyOnce {
            let what = format!("number {number} of {} twice at QoS 2", message.topic);
            stage.wrong(&self.name.id, &what);
        }
    }
}
