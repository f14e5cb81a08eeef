//! Carries an actor over a connection: the one loop of every MQTT member.

use std::cell::RefCell;
use std::io;
use std::pin::pin;

use tokio::io::Interest;
use tokio::sync::{mpsc, watch};

use super::channel::Channel;
use super::controller::News;
use crate::clock::{Clock, Micros};
use crate::session::{Export, Failure, Stage};

/// How much is read at once. The buffer belongs to the thread: an idle connection has none.
const READ_LEN: usize = 16 * 1024;

/// An alarm that is not set is set to this.
const NEVER: Micros = Micros::from_secs(30 * 24 * 3_600);

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { read: Vec::new(), out: Vec::new() }) };
}

struct Scratch {
    read: Vec<u8>,
    out: Vec<u8>,
}

/// What a connection carries. Bytes, time and news in; bytes out; what is worth recording goes its own way.
pub(super) trait Actor {
    /// Bytes came; returns how many were taken.
    fn receive(&mut self, bytes: &[u8], now: Micros, out: &mut Vec<u8>) -> Result<usize, Failure>;
    /// The login may need a value of the channel that it goes over.
    fn bind(&mut self, export: &mut Export<'_>, out: &mut Vec<u8>) -> Result<(), Failure>;
    /// Time passed.
    fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure>;
    /// The run tells something.
    fn hear(&mut self, _: News, _: Micros, _: &mut Vec<u8>) -> Result<(), Failure> {
        Ok(())
    }
    /// When to tick.
    fn deadline(&self) -> Option<Micros>;
    /// How far it has come.
    fn stage(&self) -> Stage;
    /// Whether there is nothing more to do.
    fn is_finished(&self) -> bool {
        false
    }
    /// Says goodbye.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// What a member hears from the rest of the run.
#[derive(Debug)]
pub(super) struct Ears<'a> {
    pub(super) news: Option<&'a mut mpsc::Receiver<News>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Bytes that could not be dealt with at once; empty nearly always.
#[derive(Debug, Default)]
struct Backlog {
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// Carries an actor until it is finished, fails, or the run stops. `opening` is what it wrote when it was made.
pub(super) async fn carry(
    channel: &mut Channel,
    actor: &mut impl Actor,
    clock: Clock,
    mut ears: Ears<'_>,
    opening: Vec<u8>,
) -> Result<(), Failure> {
    let mut backlog = Backlog {
        unsent: opening,
        ..Backlog::default()
    };
    backlog.flush(channel, actor)?;
    let mut alarm = pin!(tokio::time::sleep_until(clock.instant(NEVER)));
    let mut set = None;
    while !actor.is_finished() {
        let deadline = actor.deadline();
        if deadline != set {
            alarm
                .as_mut()
                .reset(clock.instant(deadline.unwrap_or(NEVER)));
            set = deadline;
        }
        let interest = if backlog.unsent.is_empty() && !channel.is_waiting() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        tokio::select! {
            ready = channel.ready(interest) => {
                let ready = ready.map_err(|error| Failure::io(actor.stage(), &error))?;
                if ready.is_writable() {
                    unblocked(channel.flush(), actor)?;
                    backlog.flush(channel, actor)?;
                }
                if ready.is_readable() {
                    backlog.read(channel, actor, clock)?;
                }
            }
            () = alarm.as_mut() => {
                set = None;
                backlog.step(channel, actor, |actor, out| actor.tick(clock.now(), out))?;
            }
            news = next(&mut ears.news) => {
                backlog.step(channel, actor, |actor, out| actor.hear(news, clock.now(), out))?;
            }
            _ = ears.stop.wait_for(|stop| *stop) => break,
        }
    }
    backlog.step(channel, actor, |actor, out| {
        actor.close(out);
        Ok(())
    })?;
    channel.close();
    Ok(())
}

/// A socket that takes nothing now is no failure: it says when it does.
fn unblocked(done: io::Result<()>, actor: &impl Actor) -> Result<(), Failure> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        done => done.map_err(|error| Failure::io(actor.stage(), &error)),
    }
}

async fn next(news: &mut Option<&mut mpsc::Receiver<News>>) -> News {
    if let Some(news) = news
        && let Some(one) = news.recv().await
    {
        return one;
    }
    // Nobody tells anything (any more).
    std::future::pending().await
}

impl Backlog {
    /// Reads what is there and lets the actor deal with it.
    fn read<A: Actor>(
        &mut self,
        channel: &mut Channel,
        actor: &mut A,
        clock: Clock,
    ) -> Result<(), Failure> {
        SCRATCH.with_borrow_mut(|Scratch { read, out }| {
            read.resize(READ_LEN, 0);
            loop {
                let count = match channel.try_read(read) {
                    Ok(0) => return Err(Failure::Closed(actor.stage())),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(Failure::io(actor.stage(), &error)),
                };
                let fresh = read.get(..count).unwrap_or_default();
                out.clear();
                let taken = self
                    .hand_over(fresh, actor, clock.now(), out)
                    .and_then(|()| actor.bind(&mut |context| channel.export(context), out));
                // What was written before a failure still goes out: an acknowledgement is owed in any case.
                self.send(channel, actor, out)?;
                taken?;
                if count < READ_LEN || actor.is_finished() {
                    return Ok(());
                }
            }
        })
    }

    /// Gives bytes to the actor, together with what was left over, and keeps what it leaves.
    fn hand_over<A: Actor>(
        &mut self,
        fresh: &[u8],
        actor: &mut A,
        now: Micros,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.unread.is_empty() {
            let taken = actor.receive(fresh, now, out)?;
            self.unread = fresh.get(taken..).unwrap_or_default().to_vec();
            return Ok(());
        }
        self.unread.extend_from_slice(fresh);
        let taken = actor.receive(&self.unread, now, out)?;
        // A new buffer, so that an idle connection holds none.
        self.unread = self.unread.get(taken..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Lets the actor do something and sends what it wrote.
    fn step<A: Actor>(
        &mut self,
        channel: &mut Channel,
        actor: &mut A,
        act: impl FnOnce(&mut A, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        SCRATCH.with_borrow_mut(|Scratch { out, .. }| {
            out.clear();
            let acted = act(actor, out);
            self.send(channel, actor, out)?;
            acted
        })
    }

    /// Sends bytes, behind those that wait already.
    fn send(
        &mut self,
        channel: &mut Channel,
        actor: &impl Actor,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush(channel, actor);
        }
        let sent = write(channel, bytes, actor.stage())?;
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            self.unsent = rest.to_vec();
        }
        Ok(())
    }

    /// Sends what waits.
    fn flush(&mut self, channel: &mut Channel, actor: &impl Actor) -> Result<(), Failure> {
        let sent = write(channel, &self.unsent, actor.stage())?;
        self.unsent = self.unsent.get(sent..).unwrap_or_default().to_vec();
        Ok(())
    }
}

/// Writes as much as the socket takes.
fn write(channel: &mut Channel, bytes: &[u8], stage: Stage) -> Result<usize, Failure> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match channel.try_write(rest) {
            // Nothing was taken: the socket says when it takes more.
            Ok(0) => break,
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(Failure::io(stage, &error)),
        }
    }
    Ok(sent)
}
