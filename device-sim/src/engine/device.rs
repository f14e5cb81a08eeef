//! A device of the fleet: logs in, subscribes to its own topics, reports when it is due, and is told things.

use keygate_protocol::mqtt::ReasonCode;

use super::crew::{Crew, credential};
use super::streams::{self, Cursor, Part};
use crate::clock::Micros;
use crate::identity::Member;
use crate::payload::{self, Mark};
use crate::scenario::Reader;
use crate::session::{Event, Export, Failure, Session, Stage};

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
    /// A message of a stream went out.
    StreamSent(Part),
    /// The broker took one.
    StreamAcknowledged(Part),
    /// The broker refused one.
    StreamRefused(Part, ReasonCode),
    /// One of the partner's arrived.
    StreamArrived { from: u32, part: Part, dup: bool },
}

/// One device. It owns no buffers: those belong to the thread that runs it.
#[derive(Debug)]
pub(super) struct Device<'a> {
    crew: &'a Crew,
    id: &'a str,
    index: u32,
    /// The next report.
    next: u32,
    cursor: Cursor,
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
        let credential = credential(&crew.cast, crew.login, Member::Device(index));
        let wanted = streams::wanted(crew, index, id);
        let session = Session::open(&crew.profile, id, credential, nonce, Some(wanted), out)?;
        Ok(Self {
            crew,
            id,
            index,
            next: 0,
            cursor: Cursor::default(),
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

    /// The login may need a value of the channel that it goes over.
    pub(super) fn bind(
        &mut self,
        export: &mut Export<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.session.bind(export, out)
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
        let (crew, index) = (self.crew, self.index);
        let has_room = self.session.has_room();
        let due = has_room && self.next < crew.reports_each;
        let report = due.then(|| crew.schedule.report(index, self.next));
        // Looking ahead moves only a copy: what is over stays over either way.
        let mut cursor = self.cursor;
        let part = has_room.then(|| cursor.next(crew, index)).flatten();
        [report, part.map(|(_, due)| due), self.session.deadline()]
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
        self.stream(now, out, note)
    }

    /// The same for its streams.
    fn stream(
        &mut self,
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Failure> {
        let (crew, device) = (self.crew, self.index);
        while self.session.has_room()
            && let Some((part, due)) = self.cursor.next(crew, device)
            && due <= now
        {
            let (leaf, size) = streams::shape(crew, part);
            let topic = format!("devices/{}/{leaf}", self.id);
            let sequence = part.number();
            let mut body = Vec::new();
            payload::write(crew.tag, Mark { device, sequence }, size, &mut body);
            self.session.publish(&topic, &body, sequence, now, out)?;
            note(Note::StreamSent(part));
            self.cursor.advance();
        }
        Ok(())
    }
}

/// What an event of its session means to a device.
fn hear(crew: &Crew, index: u32, event: &Event<'_>) -> Option<Note> {
    match *event {
        Event::LoggedIn { proven } => Some(Note::LoggedIn { proven }),
        Event::Subscribed => Some(Note::Subscribed),
        Event::Acknowledged { tag, code } if let Some(part) = Part::of_number(tag) => {
            Some(if code.is_error() {
                Note::StreamRefused(part, code)
            } else {
                Note::StreamAcknowledged(part)
            })
        }
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
            if let Some(part) = streams::found(crew, topic, mark, Reader::Partner)
                && streams::partner(crew, index) == Some(mark.device)
            {
                let from = mark.device;
                return Some(Note::StreamArrived { from, part, dup });
            }
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
