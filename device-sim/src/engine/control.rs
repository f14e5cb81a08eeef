//! The controller as a task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::channel::Door;
use super::controller::{Controller, News, OrderNote};
use super::crew::Crew;
use super::link::{self, Actor, Ears};
use super::recorder::Shared;
use crate::clock::Micros;
use crate::identity::{Cast, Member};
use crate::random::fresh;
use crate::scenario::Login;
use crate::session::{Export, Failure, Profile, Stage};

/// How long the controller's login may take.
const READY_US: u64 = 10_000_000;

/// What the controller's task needs.
pub(super) struct Control {
    pub(super) profile: Arc<Profile>,
    pub(super) cast: Cast,
    pub(super) login: Login,
    pub(super) mqtt: Door,
    pub(super) shared: Arc<Shared>,
}

/// Says once whether the controller is online.
pub(super) type Ready = oneshot::Sender<Result<(), Failure>>;

impl Control {
    /// Logs in, says so, and orders until the run stops.
    pub(super) async fn run(
        self,
        mut news: mpsc::Receiver<News>,
        stop: watch::Receiver<bool>,
        ready: Ready,
    ) {
        let id = self.cast.id(Member::Controller);
        let mut ready = Some(ready);
        let outcome = self.live(&id, &mut news, stop, &mut ready).await;
        let Err(failure) = outcome else { return };
        match ready.take() {
            Some(ready) => drop(ready.send(Err(failure))),
            None => self
                .shared
                .record(|recorder| recorder.broken(&id, format!("controller: {failure}"))),
        }
    }

    async fn live(
        &self,
        id: &str,
        news: &mut mpsc::Receiver<News>,
        stop: watch::Receiver<bool>,
        ready: &mut Option<Ready>,
    ) -> Result<(), Failure> {
        let clock = self.shared.clock;
        let deadline = clock.now().plus(READY_US);
        let member = Member::Controller;
        let mut channel = self.mqtt.connect(member, clock, deadline).await?;
        let nonce = fresh().map_err(|_| Failure::Entropy)?;
        let mut opening = Vec::new();
        let Self {
            profile,
            cast,
            login,
            ..
        } = self;
        let controller = Controller::open(profile, cast, *login, id, nonce, &mut opening)?;
        let mut actor = Noted {
            controller,
            crew: None,
            shared: &self.shared,
            deadline,
            ready,
        };
        link::carry(
            &mut channel,
            &mut actor,
            clock,
            Ears {
                news: Some(news),
                stop,
            },
            opening,
        )
        .await
    }
}

/// The controller, whose notes go to the recorder.
struct Noted<'a> {
    controller: Controller<'a>,
    crew: Option<Arc<Crew>>,
    shared: &'a Shared,
    deadline: Micros,
    ready: &'a mut Option<Ready>,
}

impl Noted<'_> {
    fn note<T>(
        &mut self,
        now: Micros,
        act: impl FnOnce(&mut Controller<'_>, &mut dyn FnMut(OrderNote)) -> T,
    ) -> T {
        let Self {
            controller,
            crew,
            shared,
            ready,
            ..
        } = self;
        act(controller, &mut |note| {
            if note == OrderNote::LoggedIn
                && let Some(ready) = ready.take()
            {
                drop(ready.send(Ok(())));
            }
            if let Some(crew) = crew {
                shared.record(|recorder| recorder.order(crew, note, now));
            }
        })
    }
}

impl Actor for Noted<'_> {
    fn receive(&mut self, bytes: &[u8], now: Micros, out: &mut Vec<u8>) -> Result<usize, Failure> {
        self.note(now, |controller, note| {
            controller.receive(bytes, now, out, note)
        })
    }

    fn bind(&mut self, export: &mut Export<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.controller.bind(export, out)
    }

    fn tick(&mut self, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        if self.ready.is_some() && now >= self.deadline {
            return Err(Failure::Late(self.stage()));
        }
        self.note(now, |controller, note| controller.tick(now, out, note))
    }

    fn hear(&mut self, news: News, now: Micros, out: &mut Vec<u8>) -> Result<(), Failure> {
        if let News::Start(crew) = &news {
            self.crew = Some(Arc::clone(crew));
        }
        self.note(now, |controller, note| {
            controller.hear(news, now, out, note)
        })
    }

    fn deadline(&self) -> Option<Micros> {
        let login = self.ready.is_some().then_some(self.deadline);
        [login, self.controller.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn stage(&self) -> Stage {
        self.controller.stage()
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.controller.close(out);
    }
}
