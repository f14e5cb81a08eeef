//! What a window comes to: whatever cancels inside it is never written.
//!
//! A window is one transaction, so only its result counts: batches that stand in it stay whole, whatever is left out
//! between them.
use std::collections::BTreeMap;

use super::{Assignment, Op, QueueNumber, StoredMessage};

/// One thing to write.
#[derive(Debug)]
pub(super) enum Write<'w> {
    /// As it was submitted.
    Op(&'w Op),
    /// A message, with what has happened to it since.
    Enqueue {
        message: &'w StoredMessage,
        assigned: Option<&'w Assignment>,
        released: bool,
    },
}

/// The highest numbers of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Marks {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) change: u64,
}

/// A window, folded.
#[derive(Debug, Default)]
pub(super) struct Folded<'w> {
    pub(super) writes: Vec<Write<'w>>,
    /// The highest numbers in it, those of cancelled messages among them.
    pub(super) highest: Marks,
}

/// Where in the window a message was touched last.
#[derive(Clone, Copy, Default)]
struct Touched {
    enqueued: Option<usize>,
    assigned: Option<usize>,
    released: Option<usize>,
}

struct Fold<'w> {
    slots: Vec<Option<Write<'w>>>,
    messages: BTreeMap<QueueNumber, Touched>,
    /// Where a retained message was set or removed last.
    topics: BTreeMap<&'w str, usize>,
    highest: Marks,
}

/// Folds the operations, in their order.
pub(super) fn fold<'w>(ops: impl IntoIterator<Item = &'w Op>) -> Folded<'w> {
    let mut fold = Fold {
        slots: Vec::new(),
        messages: BTreeMap::new(),
        topics: BTreeMap::new(),
        highest: Marks::default(),
    };
    for op in ops {
        fold.take(op);
    }
    Folded {
        writes: fold.slots.into_iter().flatten().collect(),
        highest: fold.highest,
    }
}

impl<'w> Fold<'w> {
    fn take(&mut self, op: &'w Op) {
        let highest = &mut self.highest;
        match op {
            Op::Enqueue(message) => {
                highest.number = highest.number.max(message.number.0);
                let at = self.push(Write::Enqueue {
                    message,
                    assigned: None,
                    released: message.released,
                });
                let touched = Touched {
                    enqueued: Some(at),
                    ..Touched::default()
                };
                self.messages.insert(message.number, touched);
            }
            Op::Assign(assignment) => {
                let number = assignment.number;
                let touched = self.touched(number);
                if let Some(enqueued) = self.enqueued(touched) {
                    *enqueued.0 = Some(assignment);
                    return;
                }
                self.drop_slot(touched.assigned);
                let at = self.push(Write::Op(op));
                let assigned = Some(at);
                self.messages.insert(
                    number,
                    Touched {
                        assigned,
                        ..touched
                    },
                );
            }
            Op::Release(number) => {
                let touched = self.touched(*number);
                if let Some(enqueued) = self.enqueued(touched) {
                    *enqueued.1 = true;
                    return;
                }
                self.drop_slot(touched.released);
                let at = self.push(Write::Op(op));
                let released = Some(at);
                self.messages.insert(
                    *number,
                    Touched {
                        released,
                        ..touched
                    },
                );
            }
            Op::Dequeue(number) => {
                let touched = self.messages.remove(number).unwrap_or_default();
                for slot in [touched.enqueued, touched.assigned, touched.released] {
                    self.drop_slot(slot);
                }
                // A message that the store has never seen leaves nothing to remove.
                if touched.enqueued.is_none() {
                    self.push(Write::Op(op));
                }
            }
            Op::Retain { change, message } => {
                highest.change = highest.change.max(*change);
                self.retained(message.topic(), op);
            }
            Op::Forget(topic) => self.retained(topic, op),
            _ => {
                match op {
                    Op::OpenSession(session) => highest.id = highest.id.max(session.id.0),
                    Op::OpenGroup(group) => highest.id = highest.id.max(group.id.0),
                    Op::Subscribe { subscription, .. } => {
                        let cursor = subscription.cursor.as_ref();
                        let upto = cursor.map_or(0, |cursor| cursor.upto);
                        highest.change = highest.change.max(upto);
                    }
                    Op::Cursor { cursor, .. } => {
                        let upto = cursor.as_ref().map_or(0, |cursor| cursor.upto);
                        highest.change = highest.change.max(upto);
                    }
                    _ => {}
                }
                self.push(Write::Op(op));
            }
        }
    }

    fn push(&mut self, write: Write<'w>) -> usize {
        self.slots.push(Some(write));
        self.slots.len() - 1
    }

    fn drop_slot(&mut self, slot: Option<usize>) {
        if let Some(slot) = slot.and_then(|at| self.slots.get_mut(at)) {
            *slot = None;
        }
    }

    fn touched(&self, number: QueueNumber) -> Touched {
        self.messages.get(&number).copied().unwrap_or_default()
    }

    /// Queue and state of a message that this window brings.
    fn enqueued(&mut self, touched: Touched) -> Option<(&mut Option<&'w Assignment>, &mut bool)> {
        match self.slots.get_mut(touched.enqueued?) {
            Some(Some(Write::Enqueue {
                assigned, released, ..
            })) => Some((assigned, released)),
            _ => None,
        }
    }

    fn retained(&mut self, topic: &'w str, op: &'w Op) {
        let at = self.push(Write::Op(op));
        let before = self.topics.insert(topic, at);
        self.drop_slot(before);
    }
}
