//! Sessions begin, lose their connection, come back, and end.
use std::sync::Arc;

use super::cause::WillFate;
use super::session::{Opening, Presence, Will};
use super::{Cause, Hub, Loss, Lost, Publication, Session, SessionKey, Standing, Times};
use crate::authn::Principal;
use crate::log::{Op, StoredId, StoredSession, StoredWill};
use crate::shard::Outbox;
use keygate_protocol::time::Millis;

/// A session without a connection is looked at this often at the least: within what the wheel holds.
const WATCH_MS: u64 = 500_000;

/// Session Expiry Interval that means "never" (MQTT 5 §3.1.2.11.2).
pub(super) const EXPIRY_NEVER: u32 = u32::MAX;

impl Hub {
    /// Begins a session. Its client id must be free: the gate closes the one that is taken over first, so that its will
    /// is out before the new session hears anything.
    pub(crate) fn open(&mut self, opening: Opening) -> SessionKey {
        let stored = (opening.expiry_s > 0).then(|| self.shared.fresh_id());
        let session = Session::new(opening, stored);
        let row = stored_session(&session);
        self.ops
            .extend(row.map(|row| Op::OpenSession(Box::new(row))));
        self.tally.sessions_connected += 1;
        self.insert(session)
    }

    pub(super) fn insert(&mut self, session: Session) -> SessionKey {
        let client_id = Arc::clone(&session.client_id);
        let identity = session.principal.owner().identity().cloned();
        let key = self.sessions.insert(session);
        if let Some(identity) = identity.filter(|identity| *identity != client_id) {
            self.by_identity.entry(identity).or_default().push(key);
        }
        let replaced = self.by_client.insert(client_id, key);
        debug_assert!(
            replaced.is_none(),
            "the session that is taken over was closed first"
        );
        key
    }

    /// The client is back: its session goes on on this connection, with the rights that it has now. What was at the
    /// client and not acknowledged goes out again, before everything else.
    pub(crate) fn resume(&mut self, key: SessionKey, opening: Opening, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // What the last connection was to end for does not end this one.
        self.over.retain(|(over, _)| *over != key);
        if session.link().is_none() {
            self.tally.sessions_connected += 1;
        }
        session.version = opening.version;
        session.presence = Presence::Connected(opening.link);
        session.expiry_s = opening.expiry_s;
        session.reauthentication = None;
        // The will of the last connection was waiting: the client is back in time (MQTT 5 §3.1.3.2.2).
        session.will = opening.will;
        self.renew(key, opening.principal);
        if let Some(session) = self.sessions.get(key) {
            let row = stored_session(session);
            self.ops
                .extend(row.map(|row| Op::OpenSession(Box::new(row))));
        }
        self.settle_losses(key);
        self.release_again(key, out);
        self.rejoin(key);
        self.revisit(key);
    }

    /// The audit log hears how much was lost to a session, if something was.
    fn settle_losses(&mut self, key: SessionKey) {
        if let Some(session) = self
            .sessions
            .get_mut(key)
            .filter(|session| session.lost > 0)
        {
            self.losses
                .push(Loss::of(session, Lost::Ends(session.lost)));
            session.lost = 0;
        }
    }

    /// The client has proved itself again: its rights and their end are new together.
    pub(crate) fn reauthenticated(&mut self, key: SessionKey, principal: Principal) {
        self.renew(key, principal);
        self.rejoin(key);
    }

    /// The connection of a session ends. The session stays, if it may; says whether it has ended too.
    pub(crate) fn detach(
        &mut self,
        key: SessionKey,
        cause: &Cause,
        times: Times,
        out: &mut Outbox,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return true;
        };
        if session.link().is_none() && !cause.ends_session() {
            if cause.will_fate() == WillFate::Discarded && session.will.take().is_some() {
                self.ops.extend(session.stored.map(Op::WillDone));
            }
            return false;
        }
        if let Some(expiry_s) = cause.new_expiry_s() {
            session.expiry_s = expiry_s;
        }
        if session.expiry_s == 0 || cause.ends_session() {
            self.close(key, cause, times, out);
            return true;
        }
        if cause.will_fate() == WillFate::Discarded {
            session.will = None;
        }
        let delay_s = match (cause.will_fate(), &session.will) {
            (_, None) => None,
            // At the broker's end nobody is left to hear it: it goes out after the restart.
            (WillFate::Kept, Some(will)) => Some(will.delay_s.max(1)),
            (_, Some(will)) => Some(will.delay_s),
        };
        let ends = after(times.now, session.expiry_s);
        let will_at = times.now.plus(u64::from(delay_s.unwrap_or(0)) * 1_000);
        if session.link().is_some() {
            self.tally.sessions_connected -= 1;
        }
        session.presence = Presence::Absent { ends, will_at };
        session.reauthentication = None;
        // Without a connection, only the standing of the identity counts.
        session.principal.key_id = None;
        session.principal.expires_at = None;
        if let Some(stored) = session.stored {
            self.ops.push(Op::Detach {
                session: stored,
                at: times.wall,
                expiry_s: session.expiry_s,
                will_pending: delay_s.is_some_and(|delay_s| delay_s > 0),
            });
        }
        self.rewind(key);
        if delay_s == Some(0) {
            self.publish_will(key, times, out);
        }
        self.watch_absent(key, times.now);
        false
    }

    /// Ends a session: its subscriptions and its queue go, its will goes out if the cause says so.
    pub(crate) fn close(&mut self, key: SessionKey, cause: &Cause, times: Times, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let filters: Vec<Box<str>> = session
            .subscriptions
            .drain(..)
            .map(|subscription| subscription.filter)
            .collect();
        for filter in &filters {
            self.unroute(key, filter);
        }
        self.empty(key);
        self.settle_losses(key);
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        if session.link().is_some() {
            self.tally.sessions_connected -= 1;
        }
        if self.by_client.get(&session.client_id) == Some(&key) {
            self.by_client.remove(&session.client_id);
        }
        if let Some(identity) = session.principal.owner().identity()
            && let Some(keys) = self.by_identity.get_mut(identity)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_identity.remove(identity);
            }
        }
        self.ops.extend(session.stored.map(Op::CloseSession));
        if let Some(will) = session.will.take()
            && cause.will_fate() == WillFate::Published
        {
            self.send_will(*will, times, out);
        }
    }

    /// What has not arrived goes with the session, and its rows with it.
    fn empty(&mut self, key: SessionKey) {
        self.give_back(key, true);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(flow) = session.flow.take() else {
            return;
        };
        self.queued_bytes -= flow.bytes();
        self.ops.extend(flow.rows().map(Op::Dequeue));
    }

    /// What was at the client waits to be sent again; what a share group handed over goes back to it.
    fn rewind(&mut self, key: SessionKey) {
        self.give_back(key, false);
        let Some(flow) = self.sessions.get_mut(key).and_then(|s| s.flow.as_mut()) else {
            return;
        };
        self.queued_bytes -= flow.bytes();
        flow.rewind();
        self.queued_bytes += flow.bytes();
    }

    fn publish_will(&mut self, key: SessionKey, times: Times, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let will = session.will.take();
        self.ops.extend(session.stored.map(Op::WillDone));
        // Word of a suspension may be under way.
        let silenced = match self.shared.rights.standing(&session.principal, times.wall) {
            Standing::Over(cause) => cause.will_fate() == WillFate::Discarded,
            Standing::Unchanged | Standing::Changed(_) => false,
        };
        if let Some(will) = will.filter(|_| !silenced) {
            self.send_will(*will, times, out);
        }
    }

    fn send_will(&mut self, will: Will, times: Times, out: &mut Outbox) {
        let message = will.message.published_at(times);
        let publication = Publication {
            message: &message,
            from: None,
            received: None,
        };
        // A will that does not fit (disk or retained store full) has nobody left to be told.
        if let Err(error) = self.publish(publication, will.permit, times, out) {
            tracing::warn!(?error, topic = message.topic(), "a will is lost");
        }
    }

    /// Deadlines of sessions without a connection: wills go out, sessions end.
    pub(crate) fn expire(&mut self, times: Times, out: &mut Outbox) {
        self.recover(times, out);
        let mut due = Vec::new();
        self.absent.advance(times.now, &mut due);
        for key in due {
            self.check_absent(key, times, out);
        }
        self.sweep_retained(times);
        self.sweep_groups(times);
    }

    fn check_absent(&mut self, key: SessionKey, times: Times, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.watched.is_some_and(|watched| watched > times.now) {
            // An earlier entry than the one that counts.
            return;
        }
        session.watched = None;
        let Presence::Absent { ends, will_at } = session.presence else {
            return;
        };
        if ends.is_some_and(|ends| ends <= times.now) {
            return self.close(key, &Cause::SessionExpired, times, out);
        }
        if session.will.is_some() && will_at <= times.now {
            self.publish_will(key, times, out);
        }
        self.watch_absent(key, times.now);
    }

    /// Puts a session without a connection into the wheel, unless it comes out early enough as it is.
    pub(super) fn watch_absent(&mut self, key: SessionKey, now: Millis) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Presence::Absent { ends, will_at } = session.presence else {
            return;
        };
        let will_at = session.will.is_some().then_some(will_at);
        let deadline = [ends, will_at].into_iter().flatten().min();
        // No later than the wheel reaches, so that nothing comes out before its time.
        let deadline = deadline.map(|at| at.min(now.plus(WATCH_MS)));
        if let Some(deadline) = deadline
            && session.watched.is_none_or(|watched| deadline < watched)
        {
            session.watched = Some(deadline);
            self.absent.insert(key, deadline);
        }
    }
}

/// When a session ends that loses its connection now.
pub(super) fn after(now: Millis, expiry_s: u32) -> Option<Millis> {
    (expiry_s != EXPIRY_NEVER).then(|| now.plus(u64::from(expiry_s) * 1_000))
}

/// The row of a connected session.
fn stored_session(session: &Session) -> Option<StoredSession> {
    let id: StoredId = session.stored?;
    Some(StoredSession {
        id,
        client_id: Arc::clone(&session.client_id),
        owner: session.principal.owner(),
        version: session.version,
        expiry_s: session.expiry_s,
        detached_at: None,
        will: session.will.as_ref().map(|will| {
            Box::new(StoredWill {
                message: Arc::clone(&will.message),
                delay_s: will.delay_s,
            })
        }),
        subscriptions: Vec::new(),
        inbound: Vec::new(),
    })
}
