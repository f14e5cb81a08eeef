//! The devices as tasks: each starts when it is due.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::channel::Door;
use super::controller::News;
use super::crew::Crew;
use super::device::{Device, Note};
use super::link::{self, Actor, Ears};
use super::recorder::Shared;
use crate::clock::Micros;
use crate::identity::Member;
use crate::random::fresh;
use crate::session::{Export, Failure, Stage};

/// What every task of a run gets.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) crew: Arc<Crew>,
    pub(super) shared: Arc<Shared>,
    pub(super) mqtt: Door,
    pub(super) news: mpsc::Sender<News>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Field {
    /// Waits for a point in the run; `false` if the run stops before.
    pub(super) async fn reach(&self, at: Micros) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep_until(self.shared.clock.instant(at)) => true,
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }
}

/// Starts every device when it is due, then waits for all of them to end.
pub(super) async fn arrive(field: Arc<Field>) {
    let mut devices = JoinSet::new();
    let at_once = (field.crew.at_once_max > 0)
        .then(|| Arc::new(Semaphore::new(bound(field.crew.at_once_max))));
    for index in 0..field.crew.devices {
        if !field.reach(field.crew.schedule.arrival(index)).await {
            break;
        }
        let turn = match &at_once {
            Some(at_once) => Arc::clone(at_once).acquire_owned().await.ok(),
            None => None,
        };
        devices.spawn(device(Arc::clone(&field), index, turn));
        // Devices that failed early need not be kept.
        while devices.try_join_next().is_some() {}
    }
    while devices.join_next().await.is_some() {}
}

fn bound(at_once_max: u32) -> usize {
    usize::try_from(at_once_max)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

/// One device from its first packet to its last. Its turn to log in ends with its subscription, or with itself.
pub(super) async fn device(field: Arc<Field>, index: u32, turn: Option<OwnedSemaphorePermit>) {
    let shared = &field.shared;
    shared.record(|recorder| {
        recorder.started(field.crew.schedule.arrival(index), shared.clock.now());
    });
    let id = field.crew.cast.id(Member::Device(index));
    let mut subscribed = false;
    if let Err(failure) = live(&field, index, &id, &mut subscribed, turn).await {
        shared.record(|recorder| recorder.device_failed(&id, index, subscribed, &failure));
        // The controller holds room for two words about each device; without a controller the run is over.
        let _ = field.news.try_send(News::Gone(index));
    }
}

async fn live(
    field: &Field,
    index: u32,
    id: &str,
    subscribed: &mut bool,
    turn: Option<OwnedSemaphorePermit>,
) -> Result<(), Failure> {
    let clock = field.shared.clock;
    let deadline = field
        .crew
        .schedule
        .arrival(index)
        .plus(field.crew.login_timeout_us);
    let member = Member::Device(index);
    let mut channel = field.mqtt.connect(member, clock, deadline).await?;
    let nonce = fresh().map_err(|_| Failure::Entropy)?;
    let mut opening = Vec::new();
    let device = Device::open(&field.crew, index, id, nonce, &mut opening)?;
    let mut actor = Noted {
        device,
        field,
        index,
        subscribed,
        turn,
    };
    let ears = Ears {
        news: None,
        stop: field.stop.clone(),
    };
    link::carry(&mut channel, &mut actor, clock, ears, opening).await
}

/// A device whose notes go to the recorder.
struct Noted<'a> {
    device: Device<'a>,
    field: &'a Field,
    index: u32,
    subscribed: &'a mut bool,
    turn: Option<OwnedSemaphorePermit>,
}

impl Noted<'_> {
    fn note<T>(
        &mut self,
        now: Micros,
        act: impl FnOnce(&mut Device<'_>, &mut dyn FnMut(Note)) -> T,
    ) -> T {
        let Self {
            device,
            field,
            index,
            subscribed,
            turn,
        } = self;
        act(device, &mut |note| {
            field
                .shared
                .record(|recorder| recorder.device(&field.crew, *index, note, now));
            if note == Note::Subscribed {
                **subscribed = true;
                *turn = None;
                let _ = field.news.try_send(News::Subscribed(*index));
            }
        })
    }
}

impl Actor for Noted<'_> {
    fn receive(&mut self, bytes: &[u8], now: Micros, out: &mut Vec<u8>) -> Result<usize, Failure> {
        self.note(now, |device, note| device.receive(bytes, now, out, note))
    }

    fn bind(&mut self, export: &mut Export<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.device.bind(export, out)
    }

    fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.note(now, |device, note| device.tick(now, out, note))
    }

    fn deadline(&self) -> Option<Micros> {
        self.device.deadline()
    }

    fn stage(&self) -> Stage {
        self.device.stage()
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.device.close(out);
    }
}
