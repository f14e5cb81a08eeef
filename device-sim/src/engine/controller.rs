//! The operator's side: publishes to `devices/{id}/desired` when it is due and the device can hear it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use keygate_protocol::mqtt::ReasonCode;

use super::crew::{Crew, credential};
use crate::clock::Micros;
use crate::identity::{Cast, Member};
use crate::payload::{self, Mark};
use crate::scenario::Login;
use crate::session::{Event, Export, Failure, Profile, Session, Stage};

/// What the rest of the run tells the controller.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The fleet is about to arrive.
    Start(Arc<Crew>),
    /// A device can hear.
    Subscribed(u32),
    /// A device never will, or no longer.
    Gone(u32),
}

/// Something worth recording about an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OrderNote {
    /// The controller is logged in.
    LoggedIn,
    /// An order went out.
    Sent(Mark),
    /// The broker took an order.
    Acknowledged(Mark),
    /// The broker refused an order.
    Refused(Mark, ReasonCode),
}

/// The controller.
#[derive(Debug)]
pub(super) struct Controller<'a> {
    session: Session<'a>,
    orders: Option<Orders>,
}

/// What is still to be ordered.
#[derive(Debug)]
struct Orders {
    crew: Arc<Crew>,
    /// All orders by due time, last first.
    due: Vec<(Micros, Mark)>,
    /// Devices that can hear.
    hearing: Vec<bool>,
    /// Due, but the device cannot hear yet.
    parked: HashMap<u32, Vec<Mark>>,
    /// Due, and the broker's window was full.
    ready: VecDeque<Mark>,
}

impl<'a> Controller<'a> {
    /// Begins the login; `out` gets the CONNECT.
    pub(super) fn open(
        profile: &'a Profile,
        cast: &Cast,
        login: Login,
        id: &'a str,
        nonce: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let credential = credential(cast, login, Member::Controller);
        let session = Session::open(profile, id, credential, nonce, None, out)?;
        Ok(Self {
            session,
            orders: None,
        })
    }

    /// The run tells something.
    pub(super) fn hear(
        &mut self,
        news: News,
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(OrderNote),
    ) -> Result<(), Failure> {
        match (news, &mut self.orders) {
            (News::Start(crew), orders) => *orders = Some(Orders::new(crew)),
            (News::Subscribed(device), Some(orders)) => orders.subscribed(device),
            (News::Gone(device), Some(orders)) => orders.gone(device),
            (News::Subscribed(_) | News::Gone(_), None) => {}
        }
        self.order(now, out, note)
    }

    /// Bytes came; returns how many were taken.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(OrderNote),
    ) -> Result<usize, Failure> {
        let orders = self.orders.as_ref();
        let taken = self
            .session
            .receive(bytes, now, out, &mut |event| match event {
                Event::LoggedIn { .. } => note(OrderNote::LoggedIn),
                Event::Acknowledged { tag, code } => {
                    let Some(mark) = orders.map(|orders| orders.mark(tag)) else {
                        return;
                    };
                    note(if code.is_error() {
                        OrderNote::Refused(mark, code)
                    } else {
                        OrderNote::Acknowledged(mark)
                    });
                }
                // It asked for no messages.
                Event::Subscribed | Event::Message { .. } => {}
            })?;
        self.order(now, out, note)?;
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
        note: &mut dyn FnMut(OrderNote),
    ) -> Result<(), Failure> {
        self.session.tick(now, out)?;
        self.order(now, out, note)
    }

    /// When to call [`tick`](Self::tick).
    pub(super) fn deadline(&self) -> Option<Micros> {
        let due = self
            .orders
            .as_ref()
            .and_then(|orders| orders.due.last())
            .map(|&(at, _)| at);
        [due, self.session.deadline()].into_iter().flatten().min()
    }

    /// How far it has come.
    pub(super) const fn stage(&self) -> Stage {
        self.session.stage()
    }

    /// Says goodbye if it may.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.session.close(out);
    }

    /// Sends every order that is due, can be heard, and fits the broker's window.
    fn order(
        &mut self,
        now: Micros,
        out: &mut Vec<u8>,
        note: &mut dyn FnMut(OrderNote),
    ) -> Result<(), Failure> {
        let Some(orders) = &mut self.orders else {
            return Ok(());
        };
        orders.fall_due(now);
        while self.session.has_room() {
            let Some(mark) = orders.ready.pop_front() else {
                break;
            };
            let crew = &orders.crew;
            let topic = format!(
                "devices/{}/desired",
                crew.cast.id(Member::Device(mark.device))
            );
            let mut body = Vec::new();
            payload::write(crew.tag, mark, crew.desired_bytes, &mut body);
            self.session
                .publish(&topic, &body, orders.tag(mark), now, out)?;
            note(OrderNote::Sent(mark));
        }
        Ok(())
    }
}

impl Orders {
    fn new(crew: Arc<Crew>) -> Self {
        let each = crew.desired_each;
        let marks = (0..crew.devices)
            .flat_map(|device| (0..each).map(move |sequence| Mark { device, sequence }));
        let mut due: Vec<(Micros, Mark)> = marks
            .map(|mark| (crew.schedule.desired(mark.device, mark.sequence), mark))
            .collect();
        due.sort_unstable_by_key(|&(at, mark)| std::cmp::Reverse((at, mark.device, mark.sequence)));
        let hearing = vec![false; usize::try_from(crew.devices).unwrap_or(0)];
        Self {
            crew,
            due,
            hearing,
            parked: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Everything due is ready if its device can hear, and waits for it if not.
    fn fall_due(&mut self, now: Micros) {
        while let Some((_, mark)) = self.due.pop_if(|(at, _)| *at <= now) {
            if self.can_hear(mark.device) {
                self.ready.push_back(mark);
            } else {
                self.parked.entry(mark.device).or_default().push(mark);
            }
        }
    }

    fn subscribed(&mut self, device: u32) {
        self.set(device, true);
        self.ready
            .extend(self.parked.remove(&device).unwrap_or_default());
    }

    fn gone(&mut self, device: u32) {
        self.set(device, false);
        self.parked.remove(&device);
        self.ready.retain(|mark| mark.device != device);
    }

    fn can_hear(&self, device: u32) -> bool {
        usize::try_from(device)
            .ok()
            .and_then(|device| self.hearing.get(device))
            .copied()
            .unwrap_or(false)
    }

    fn set(&mut self, device: u32, hears: bool) {
        if let Some(slot) = usize::try_from(device)
            .ok()
            .and_then(|device| self.hearing.get_mut(device))
        {
            *slot = hears;
        }
    }

    /// A mark as the number that comes back with its acknowledgement; a checked scenario has fewer than 2^32 orders.
    fn tag(&self, mark: Mark) -> u32 {
        mark.device * self.crew.desired_each + mark.sequence
    }

    fn mark(&self, tag: u32) -> Mark {
        let each = self.crew.desired_each.max(1);
        Mark {
            device: tag / each,
            sequence: tag % each,
        }
    }
}
