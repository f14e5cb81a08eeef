//! What one end has sent and the other has not answered, in the order in which it came.
use std::collections::VecDeque;

use keygate_protocol::mqtt::{AckKind, PacketId, ReasonCode};

/// The QoS 1 and 2 messages of one direction that wait for their first acknowledgement.
///
/// Some are answered by the gate, without the other end ever seeing them; their answers wait until all earlier messages
/// have theirs (MQTT 5 §4.6).
#[derive(Debug, Default)]
pub(super) struct Window {
    waiting: VecDeque<Message>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    id: PacketId,
    kind: AckKind,
    /// The gate's own answer.
    own: Option<ReasonCode>,
}

/// Whether an acknowledgement belongs to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answered {
    /// To one that waited for it.
    Done,
    /// To one that waited for the other kind.
    Wrong,
    /// To none.
    Unknown,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a message with this identifier waits.
    pub(super) fn has(&self, id: PacketId) -> bool {
        self.waiting.iter().any(|message| message.id == id)
    }

    /// Whether a message with this identifier waits for the other end.
    pub(super) fn is_passed(&self, id: PacketId) -> bool {
        let theirs = |message: &&Message| message.id == id && message.own.is_none();
        self.waiting.iter().find(theirs).is_some()
    }

    /// The other end will answer this one.
    pub(super) fn pass(&mut self, id: PacketId, kind: AckKind) {
        let own = None;
        self.waiting.push_back(Message { id, kind, own });
    }

    /// The gate answers this one when its turn has come.
    pub(super) fn keep_back(&mut self, id: PacketId, kind: AckKind, code: ReasonCode) {
        let own = Some(code);
        self.waiting.push_back(Message { id, kind, own });
    }

    /// The other end has answered.
    pub(super) fn answered(&mut self, id: PacketId, kind: AckKind) -> Answered {
        let theirs = |message: &Message| message.id == id && message.own.is_none();
        let Some(at) = self.waiting.iter().position(theirs) else {
            return Answered::Unknown;
        };
        if self
            .waiting
            .get(at)
            .is_some_and(|message| message.kind != kind)
        {
            return Answered::Wrong;
        }
        self.waiting.remove(at);
        Answered::Done
    }

    /// The next answer of the gate whose turn has come.
    pub(super) fn due(&mut self) -> Option<(AckKind, PacketId, ReasonCode)> {
        let first = self.waiting.front()?;
        let code = first.own?;
        let due = (first.kind, first.id, code);
        self.waiting.pop_front();
        Some(due)
    }
}

/// A few packet identifiers, in order.
#[derive(Debug, Default)]
pub(super) struct Ids(Vec<PacketId>);

impl Ids {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, id: PacketId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    pub(super) fn insert(&mut self, id: PacketId) {
        if let Err(at) = self.0.binary_search(&id) {
            self.0.insert(at, id);
        }
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, id: PacketId) -> bool {
        let Ok(at) = self.0.binary_search(&id) else {
            return false;
        };
        self.0.remove(at);
        if self.0.is_empty() {
            // An idle session holds no memory for what it once had.
            self.0 = Vec::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn the_gates_answer_waits_for_those_before_it() {
        let mut window = Window::default();
        window.pass(id(1), AckKind::Puback);
        window.keep_back(id(2), AckKind::Pubrec, ReasonCode::NotAuthorized);
        window.pass(id(3), AckKind::Pubrec);
        window.keep_back(id(4), AckKind::Puback, ReasonCode::Success);
        assert_eq!(window.due(), None);
        assert_eq!(window.answered(id(3), AckKind::Pubrec), Answered::Done);
        assert_eq!(window.due(), None);
        assert_eq!(window.answered(id(1), AckKind::Puback), Answered::Done);
        let second = (AckKind::Pubrec, id(2), ReasonCode::NotAuthorized);
        assert_eq!(window.due(), Some(second));
        let fourth = (AckKind::Puback, id(4), ReasonCode::Success);
        assert_eq!(window.due(), Some(fourth));
        assert_eq!((window.due(), window.len()), (None, 0));
    }

    #[test]
    fn an_answer_must_be_of_the_messages_kind() {
        let mut window = Window::default();
        window.pass(id(1), AckKind::Puback);
        assert_eq!(window.answered(id(1), AckKind::Pubrec), Answered::Wrong);
        assert_eq!(window.answered(id(2), AckKind::Puback), Answered::Unknown);
        assert!(window.has(id(1)));
        assert_eq!(window.answered(id(1), AckKind::Puback), Answered::Done);
        assert!(!window.has(id(1)));
    }

    #[test]
    fn nobody_else_answers_for_the_gate() {
        let mut window = Window::default();
        window.pass(id(1), AckKind::Puback);
        window.keep_back(id(2), AckKind::Puback, ReasonCode::Success);
        assert_eq!(window.answered(id(2), AckKind::Puback), Answered::Unknown);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn identifiers_are_there_once() {
        let mut ids = Ids::default();
        for value in [5, 3, 5, 9] {
            ids.insert(id(value));
        }
        assert_eq!(
            (ids.len(), ids.has(id(3)), ids.has(id(4))),
            (3, true, false)
        );
        assert!(ids.remove(id(5)));
        assert!(!ids.remove(id(5)));
        assert_eq!(ids.0, [id(3), id(9)]);
    }
}
