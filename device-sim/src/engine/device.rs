//! A device of the fleet: logs in, subscribes to its own topics, reports when it is due, and is told things.

use keygate_protocol::mqtt::ReasonCode;

use super::crew::Crew;
use crate::clock::Micros;
use crate::identity::Member;
use crate::payload::{self, Mark};
use crate::session::{Event, Failure, Key, Session, Stage, Wanted};

/// Something worth recording about a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Note {
    /// CONNACK came; `proven` if the broker showed its pinned key.
    LoggedIn { proven: bool },
    /// Its own topics are granted.
    Subscribed,
    /// A report went out.
    Sent { sequence: u32 },
    /// The broker took a report.
    Acknowledged { sequence: u32 },
    /// The broker refused a report.
    Refused { sequence: u32, code: ReasonCode },
    /// An order of this run arrived.
    Told { sequence: u32, dup: bool },
    /// An order for another device arrived.
    Strange,
    /// Its own report came back.
    Echo,
}

/// One device. It owns no buffers: those belong to the thread that runs it.
#[derive(Debug)]
pub(super) struct Device<'a> {
    crew: &'a Crew,
    id: &'a str,
    index: u32,
    /// The next report.
    next: u32,
    session: Session<'a>,
}

impl<'a> Device<'a> {
    /// Begins the login; `out` gets the CONNECT.
    pub(super) fn open(
        crew: &'a Crew,
        index: u32,
        id: &'a str,
        nonce: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let key = Key::new(crew.cast.signer(Member::Device(index)));
        let wanted = Wanted {
            filter: format!("devices/{id}/#"),
            no_local: true,
        };
        let session = Session::open(&crew.profile, id, key, nonce, Some(wanted), out)?;
        Ok(Self {
            crew,
            id,
            index,
            next: 0,
            session,
        })
    }

    /// Bytes came; returns how many were taken.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(Note),
    ) -> Result<usize, Failure> {
        let (crew, index) = (self.crew, self.index);
        let taken = self.session.receive(bytes, now, out, &mut |event| {
            if let Some(heard) = hear(crew, index, &event) {
                note(heard);
            }
        })?;
        // An acknowledgement may have made room; a grant may have come after the first report was due.
        self.report(now, out, note)?;
        Ok(taken)
    }

    /// Time passed.
    pub(super) fn tick(
        &mut self,
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Failure> {
        if !self.session.is_online() && now >= self.login_deadline() {
            return Err(Failure::Late(self.session.stage()));
        }
        self.session.tick(now, out)?;
        self.report(now, out, note)
    }

    /// When to call [`tick`](Self::tick).
    pub(super) fn deadline(&self) -> Option<Micros> {
        if !self.session.is_online() {
            return Some(self.login_deadline());
        }
        let due = self.next < self.crew.reports_each && self.session.has_room();
        let report = due.then(|| self.crew.schedule.report(self.index, self.next));
        [report, self.session.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// How far it has come.
    pub(super) const fn stage(&self) -> Stage {
        self.session.stage()
    }

    /// Says goodbye if it may.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.session.close(out);
    }

    fn login_deadline(&self) -> Micros {
        self.crew
            .schedule
            .arrival(self.index)
            .plus(self.crew.login_timeout_us)
    }

    /// Sends every report that is due and fits the broker's window.
    fn report(
        &mut self,
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Failure> {
        let crew = self.crew;
        while self.session.has_room()
            && self.next < crew.reports_each
            && crew.schedule.report(self.index, self.next) <= now
        {
            let sequence = self.next;
            let topic = format!("devices/{}/reported", self.id);
            let mut body = Vec::new();
            payload::write(
                crew.tag,
                Mark {
                    device: self.index,
                    sequence,
                },
                crew.report_bytes,
                &mut body,
            );
            self.session.publish(&topic, &body, sequence, now, out)?;
            note(Note::Sent { sequence });
            self.next += 1;
        }
        Ok(())
    }
}

/// What an event of its session means to a device.
fn hear(crew: &Crew, index: u32, event: &Event<'_>) -> Option<Note> {
    match *event {
        Event::LoggedIn { proven } => Some(Note::LoggedIn { proven }),
        Event::Subscribed => Some(Note::Subscribed),
        Event::Acknowledged { tag, code } if code.is_error() => Some(Note::Refused {
            sequence: tag,
            code,
        }),
        Event::Acknowledged { tag, .. } => Some(Note::Acknowledged { sequence: tag }),
        Event::Message {
            topic,
            payload,
            dup,
        } => {
            // What another run left behind is nobody's business here, nor is what only a broker writes (presence).
            let mark = payload::read(crew.tag, payload)?;
            match crew.device_topic(topic) {
                Some((owner, "desired")) if owner == index && mark.device == index => {
                    Some(Note::Told {
                        sequence: mark.sequence,
                        dup,
                    })
                }
                Some((owner, "reported")) if owner == index && mark.device == index => {
                    Some(Note::Echo)
                }
                _ => Some(Note::Strange),
            }
        }
    }
}
