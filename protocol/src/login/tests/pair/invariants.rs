//! What must hold after every run, whatever the adversary did.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::{Client, Server, World};
use crate::crypto::Signer;
use crate::login::{CHALLENGE_LIFE_MS, Role};

pub(super) type Invariant = fn(&World) -> Result<(), String>;

pub(super) const INVARIANTS: &[Invariant] = &[
    invariant_only_what_that_device_signed_is_accepted,
    invariant_no_proof_is_accepted_twice,
    invariant_nothing_is_accepted_after_the_deadline,
    invariant_nobody_is_accepted_as_somebody_else,
    invariant_the_broker_signs_for_the_proven_only,
    invariant_a_device_believes_only_a_broker_that_signed_for_it,
    invariant_no_two_messages_signed_are_alike,
    invariant_an_undisturbed_login_succeeds,
];

fn holds(condition: bool, violation: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(violation()) }
}

/// What the broker heard is what the owner of the key said, item by item, and the owner signed it.
fn invariant_only_what_that_device_signed_is_accepted(world: &World) -> Result<(), String> {
    world.accepted.iter().try_for_each(|accepted| {
        let meant = world.links.iter().any(|link| {
            let person = &world.people[link.person];
            person.honest
                && person.key.key_id() == accepted.view.open.key_id
                && link.believed.as_ref() == Some(&accepted.view)
                && person
                    .key
                    .signed
                    .contains(&accepted.view.message(Role::Device))
        });
        holds(meant, || {
            format!("accepted on {} what no device meant", accepted.connection)
        })
    })
}

fn invariant_no_proof_is_accepted_twice(world: &World) -> Result<(), String> {
    let mut proofs: Vec<_> = world
        .accepted
        .iter()
        .map(|accepted| &accepted.proof)
        .collect();
    proofs.sort();
    let all = proofs.len();
    proofs.dedup();
    holds(proofs.len() == all, || {
        "one proof opened two connections".to_string()
    })
}

fn invariant_nothing_is_accepted_after_the_deadline(world: &World) -> Result<(), String> {
    world.accepted.iter().try_for_each(|accepted| {
        let age_ms = accepted.at.since(accepted.challenged_at);
        holds(age_ms < CHALLENGE_LIFE_MS, || {
            format!("accepted after {age_ms} ms")
        })
    })
}

fn invariant_nobody_is_accepted_as_somebody_else(world: &World) -> Result<(), String> {
    world.accepted.iter().try_for_each(|accepted| {
        let key_id = accepted.view.open.key_id;
        let registered = world.registered.contains_key(&key_id);
        holds(registered, || format!("accepted the unknown key {key_id}"))
    })
}

fn invariant_the_broker_signs_for_the_proven_only(world: &World) -> Result<(), String> {
    world.identity.signed.iter().try_for_each(|message| {
        let proven = world
            .accepted
            .iter()
            .any(|accepted| &accepted.view.message(Role::Broker) == message);
        holds(proven, || {
            "the broker signed for a device that had not proved itself".to_string()
        })
    })
}

fn invariant_a_device_believes_only_a_broker_that_signed_for_it(
    world: &World,
) -> Result<(), String> {
    world
        .links
        .iter()
        .enumerate()
        .try_for_each(|(number, link)| {
            let Client::Confirmed { broker_proved } = link.client else {
                return Ok(());
            };
            if !broker_proved {
                return holds(!link.pinned, || {
                    format!("{number} believed a broker without proof")
                });
            }
            let expected = link
                .believed
                .as_ref()
                .map(|seen| seen.message(Role::Broker));
            let signed = expected.is_some_and(|message| world.identity.signed.contains(&message));
            holds(signed, || {
                format!("{number} believed a proof that the broker never made")
            })
        })
}

fn invariant_no_two_messages_signed_are_alike(world: &World) -> Result<(), String> {
    let mut all: Vec<_> = world
        .people
        .iter()
        .flat_map(|person| &person.key.signed)
        .collect();
    all.extend(&world.identity.signed);
    let count = all.len();
    all.sort();
    all.dedup();
    holds(all.len() == count, || {
        "two logins signed the same bytes".to_string()
    })
}

fn invariant_an_undisturbed_login_succeeds(world: &World) -> Result<(), String> {
    world.links.iter().enumerate().try_for_each(|(number, link)| {
        if link.disturbed || !world.people[link.person].enrolled() {
            return Ok(());
        }
        let done = matches!(link.client, Client::Confirmed { broker_proved } if broker_proved == link.pinned);
        holds(done && matches!(link.server, Server::Accepted), || {
            format!("{number} was left alone and failed: {:?} {:?}", link.client, link.server)
        })
    })
}
