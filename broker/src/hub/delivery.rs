use std::sync::Arc;

use super::session::{Queued, Queueing};
use super::{Hub, Message, SessionKey, Subscriber, Times};
use crate::shard::Outbox;
use keygate_protocol::mqtt::{self, PacketId, Qos};

/// A message on its way to sessions of another shard.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) to: Box<[Subscriber]>,
}

impl Hub {
    /// Delivers what another shard's publisher sent.
    pub(crate) fn deliver(&mut self, delivery: &Delivery, times: Times, out: &mut Outbox) {
        self.deliver_all(&delivery.message, &delivery.to, times, out);
    }

    pub(super) fn deliver_all(
        &mut self,
        message: &Arc<Message>,
        to: &[Subscriber],
        times: Times,
        out: &mut Outbox,
    ) {
        if message.has_expired(times.now) {
            return;
        }
        for subscriber in to {
            let retain = message.retain() && subscriber.options.retain_as_published();
            let qos = message.qos().min(subscriber.options.qos());
            let queued = Queued {
                message: Arc::clone(message),
                qos,
                retain,
            };
            self.deliver_one(subscriber.key.session, queued, times, out);
        }
    }

    /// A session that has ended since the message was routed gets nothing: its key finds nothing.
    fn deliver_one(&mut self, key: SessionKey, queued: Queued, times: Times, out: &mut Outbox) {
        let limits = &self.shared.limits;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.principal.is_expired(times.wall) {
            return;
        }
        let write_full = out.pending(session.conn) > limits.write_bytes;
        if queued.qos == Qos::AtMostOnce {
            // At most once: a client that does not keep up loses it, not the broker's memory.
            if !write_full {
                send(session, &queued, times, out);
            }
            return;
        }
        match session.queue(
            queued,
            write_full,
            limits.queue_messages,
            limits.queue_bytes,
        ) {
            Queueing::Send(queued) => send(session, &queued, times, out),
            Queueing::Waits if write_full && !session.congested => {
                session.congested = true;
                self.congested.push(key);
            }
            Queueing::Waits => {}
            Queueing::Overflow => self.overflowed.push(key),
        }
    }

    /// The client acknowledged a message. False if the id was not with it (MQTT 5: 0x92 is for QoS 2 only, so the gate
    /// ignores it).
    pub(crate) fn acknowledge(&mut self, key: SessionKey, packet_id: PacketId) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let known = session.acknowledge(packet_id);
        self.revisit(key);
        known
    }

    /// Sends from the queue and, when it is empty, from the retained messages that subscriptions still wait for, as far
    /// as window and write buffer let it.
    pub(super) fn pump(&mut self, key: SessionKey, times: Times, out: &mut Outbox) {
        let limits = Arc::clone(&self.shared.limits);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.principal.is_expired(times.wall) {
            return;
        }
        let mut again = false;
        while out.pending(session.conn) <= limits.write_bytes {
            if let Some(queued) = session.unqueue() {
                if !queued.message.has_expired(times.now) {
                    send(session, &queued, times, out);
                }
            } else {
                again = self.step_snapshot(key, times, out);
                break;
            }
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if out.pending(session.conn) > limits.write_bytes {
            if !std::mem::replace(&mut session.congested, true) {
                self.congested.push(key);
            }
        } else if again {
            self.ready.push(key);
        }
        session.rest();
    }

    /// One step through the retained messages of a session's oldest waiting subscription. Says whether there was one.
    fn step_snapshot(&mut self, key: SessionKey, times: Times, out: &mut Outbox) -> bool {
        let limits = Arc::clone(&self.shared.limits);
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some((mut snapshot, options, room)) = session.next_snapshot() else {
            return false;
        };
        let mut found = Vec::new();
        let room = room.min(SNAPSHOT_MESSAGES);
        let more = snapshot.step(
            &self.shared.retained(),
            limits.retained_scan,
            room,
            &mut found,
        );
        for message in found
            .into_iter()
            .filter(|message| !message.has_expired(times.now))
        {
            let qos = message.qos().min(options.qos());
            send(
                session,
                &Queued {
                    message,
                    qos,
                    retain: true,
                },
                times,
                out,
            );
        }
        if more {
            session.return_snapshot(snapshot, options);
        }
        true
    }
}

/// Retained messages that one step sends at the most: they go out whatever their size, so there are few.
pub(super) const SNAPSHOT_MESSAGES: usize = 16;

fn send(session: &mut super::Session, queued: &Queued, times: Times, out: &mut Outbox) {
    if queued.message.packet_len_max() > session.packet_max as usize {
        // MQTT 5 §3.1.2.11.4: act as if it had been sent.
        return;
    }
    let packet_id = (queued.qos != Qos::AtMostOnce).then(|| session.take_packet_id());
    let Some(delivery) = queued.message.delivery(times.now) else {
        return;
    };
    let delivery = mqtt::Delivery {
        qos: queued.qos,
        retain: queued.retain,
        packet_id,
        ..delivery
    };
    super::wire::put(out.to(session.conn), |wire| {
        delivery.encode(session.version, wire)
    });
}
