//! The client's SUBSCRIBEs and UNSUBSCRIBEs that the upstream has not answered.
use std::sync::Arc;

use keygate_protocol::mqtt::{PacketId, ReasonCode};

/// What is asked, by packet identifier. Few at a time, so a list does.
#[derive(Debug, Default)]
pub(super) struct Asked {
    waiting: Vec<(PacketId, Question)>,
}

#[derive(Debug)]
enum Question {
    Subscribe(Box<[Verdict]>),
    Unsubscribe,
}

/// What became of one filter of a SUBSCRIBE at the gate.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The upstream is asked for it.
    Asked(Arc<str>),
    /// It is refused with this code and never went up.
    Refused(ReasonCode),
}

impl Asked {
    /// Whether this identifier is in use.
    pub(super) fn has(&self, id: PacketId) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == id)
    }

    /// How many filters wait; an UNSUBSCRIBE counts as one.
    pub(super) fn len(&self) -> usize {
        let weight = |question: &Question| match question {
            Question::Subscribe(verdicts) => verdicts.len(),
            Question::Unsubscribe => 1,
        };
        self.waiting
            .iter()
            .map(|(_, question)| weight(question))
            .sum()
    }

    pub(super) fn subscribe(&mut self, id: PacketId, verdicts: Vec<Verdict>) {
        let question = Question::Subscribe(verdicts.into());
        self.waiting.push((id, question));
    }

    pub(super) fn unsubscribe(&mut self, id: PacketId) {
        self.waiting.push((id, Question::Unsubscribe));
    }

    /// SUBACK has come. `None` if nobody asked.
    pub(super) fn subscribed(&mut self, id: PacketId) -> Option<Box<[Verdict]>> {
        let theirs = |question: &Question| matches!(question, Question::Subscribe(_));
        match self.take(id, theirs)? {
            Question::Subscribe(verdicts) => Some(verdicts),
            Question::Unsubscribe => None,
        }
    }

    /// UNSUBACK has come. Says whether anybody asked.
    pub(super) fn unsubscribed(&mut self, id: PacketId) -> bool {
        self.take(id, |question| matches!(question, Question::Unsubscribe))
            .is_some()
    }

    fn take(&mut self, id: PacketId, fits: impl Fn(&Question) -> bool) -> Option<Question> {
        let at = self
            .waiting
            .iter()
            .position(|(waiting, question)| *waiting == id && fits(question))?;
        let (_, question) = self.waiting.swap_remove(at);
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        Some(question)
    }
}
