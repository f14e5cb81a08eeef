//! An impostor: knows a device's name, not its key. It must not get in, and its victim must not notice.

use std::sync::Arc;

use keygate_protocol::crypto::Signer;
use keygate_protocol::mqtt::ReasonCode;

use super::fleet::Field;
use super::link::{self, Actor, Ears};
use crate::clock::Micros;
use crate::identity::Member;
use crate::random::fresh;
use crate::scenario::Login;
use crate::session::{Credential, Event, Export, Failure, Key, Session, Stage};

/// One attempt.
pub(super) async fn impostor(field: Arc<Field>, index: u32) {
    let at = field.crew.schedule.impostor(index);
    if !field.reach(at).await {
        return;
    }
    let who = format!("impostor {index}");
    let mut admitted = false;
    let outcome = attempt(&field, index, at, &mut admitted).await;
    field.shared.record(|recorder| {
        let counts = &mut recorder.impostors;
        counts.attempted += 1;
        match outcome {
            _ if admitted => counts.admitted += 1,
            Err(Failure::Refused {
                stage: Stage::Confirmation,
                code: ReasonCode::NotAuthorized,
            }) => counts.refused += 1,
            Err(failure) => {
                counts.other += 1;
                recorder.error(format!("impostor: {failure}"), &who, None);
            }
            Ok(()) => counts.other += 1,
        }
        recorder.impostor_settled();
    });
}

async fn attempt(
    field: &Field,
    index: u32,
    at: Micros,
    admitted: &mut bool,
) -> Result<(), Failure> {
    let crew = &field.crew;
    let clock = field.shared.clock;
    let deadline = at.plus(crew.login_timeout_us);
    let member = Member::Impostor(index);
    let mut channel = field.mqtt.connect(member, clock, deadline).await?;

    let victim = Member::Device(index % crew.devices.max(1));
    let id = crew.cast.id(victim);
    let signer = crew.cast.signer(Member::Impostor(index));
    // Half of them name the victim's key and cannot sign with it, half name their own, which nobody knows.
    let credential = match crew.login {
        Login::Password => Credential::Password(crew.cast.password(Member::Impostor(index))),
        Login::KgEd25519 if index.is_multiple_of(2) => {
            Key::claiming(signer, crew.cast.signer(victim).key_id()).into()
        }
        Login::KgEd25519 => Key::new(signer).into(),
    };
    let nonce = fresh().map_err(|_| Failure::Entropy)?;
    let mut opening = Vec::new();
    let session = Session::open(&crew.profile, &id, credential, nonce, None, &mut opening)?;
    let mut actor = Intruder {
        session,
        deadline,
        admitted,
    };
    let ears = Ears {
        news: None,
        stop: field.stop.clone(),
    };
    link::carry(&mut channel, &mut actor, clock, ears, opening).await
}

struct Intruder<'a> {
    session: Session<'a>,
    deadline: Micros,
    admitted: &'a mut bool,
}

impl Actor for Intruder<'_> {
    fn receive(&mut self, bytes: &[u8], now: Micros, out: &mut Vec<u8>) -> Result<usize, Failure> {
        let admitted = &mut *self.admitted;
        self.session.receive(bytes, now, out, &mut |event| {
            *admitted |= matches!(event, Event::LoggedIn { .. });
        })
    }

    fn bind(&mut self, export: &mut Export<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.session.bind(export, out)
    }

    fn tick(&mut self, now: Micros, _: &mut Vec<u8>) -> Result<(), Failure> {
        if now < self.deadline {
            Ok(())
        } else {
            Err(Failure::Late(self.session.stage()))
        }
    }

    fn deadline(&self) -> Option<Micros> {
        Some(self.deadline)
    }

    fn stage(&self) -> Stage {
        self.session.stage()
    }

    fn is_finished(&self) -> bool {
        *self.admitted
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.session.close(out);
    }
}
