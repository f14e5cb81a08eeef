//! What each reason means, and what to do about it.

use crate::cli::screen::shown;
use crate::telemetry::event::{EventKind, RightReason};
use crate::telemetry::reason::RefusalReason as Reason;

/// What a refusal means, in a sentence or two, and the next steps.
pub(super) struct Advice {
    pub(super) meaning: &'static str,
    pub(super) next: Vec<String>,
}

impl Advice {
    pub(super) fn of(kind: &EventKind, id: &str) -> Self {
        let id = shown(id);
        match kind {
            EventKind::Login {
                reason: Some(reason),
                ..
            }
            | EventKind::Token {
                reason: Some(reason),
                ..
            }
            | EventKind::Challenge { reason, .. } => of_refusal(*reason, &id),
            EventKind::Right { reason, .. } => of_right(*reason, &id),
            EventKind::Malformed { .. } => Self::new(
                "The device's MQTT library, or something on the way, sent bytes that MQTT does not allow. The broker \
                 closes such connections at once.",
                ["update or replace the client library; the rule above names what it got wrong"],
            ),
            _ => Self::new("", []),
        }
    }

    fn new<const N: usize>(meaning: &'static str, next: [&str; N]) -> Self {
        Self {
            meaning,
            next: next.map(str::to_owned).into(),
        }
    }
}

fn of_refusal(reason: Reason, id: &str) -> Advice {
    match reason {
        Reason::AssertionAlgorithm
        | Reason::AssertionBeforeStart
        | Reason::AssertionExpired
        | Reason::AssertionFromFuture
        | Reason::AssertionLifetime
        | Reason::AssertionMalformed
        | Reason::AssertionReused
        | Reason::AssertionWrongClient
        | Reason::AssertionWrongType
        | Reason::ReplayMemoryFull => of_assertion(reason),
        Reason::BadSignature
        | Reason::KeyExpired
        | Reason::KeyNotYetValid
        | Reason::KeyUnknown
        | Reason::UnknownDevice
        | Reason::DevicePending
        | Reason::DeviceRevoked
        | Reason::DeviceSuspended => of_enrolment(reason, id),
        _ => of_exchange(reason),
    }
}

fn of_assertion(reason: Reason) -> Advice {
    let fresh = "make a new one for each login, or use a challenge: keygate assert --challenge coap://HOST …";
    match reason {
        Reason::AssertionAlgorithm => Advice::new(
            "The assertion is signed with something else than Ed25519, or not at all.",
            ["sign with Ed25519 (`alg` Ed25519 or EdDSA), as `keygate assert` does"],
        ),
        Reason::AssertionBeforeStart => Advice::new(
            "This listener takes each assertion once, and what was used before the broker started is not remembered: \
             older ones cannot be trusted.",
            [fresh],
        ),
        Reason::AssertionExpired => Advice::new(
            "The assertion was good once. Assertions with times live a few minutes.",
            [fresh, "check the device's clock"],
        ),
        Reason::AssertionFromFuture => Advice::new(
            "The device's clock is ahead of the broker's by more than a minute.",
            [
                "set the device's clock, or the broker's",
                "or use challenges, which need no clock: keygate assert --challenge coap://HOST …",
            ],
        ),
        Reason::AssertionLifetime => Advice::new(
            "Its `exp` lies further from its `iat` than this listener allows (5 minutes unless configured).",
            ["make it with a shorter life: keygate assert --ttl 300 …"],
        ),
        Reason::AssertionReused => Advice::new(
            "This listener is plain and takes each assertion once, so that nobody who listens in can use it again. Either \
             the client reconnected by itself with an old one, or somebody else used it first.",
            [
                fresh,
                "or give the device a client with MQTT 5 AUTH (kg-ed25519), which reconnects by itself",
                "on a closed network: `assertion_reuse = \"until-expiry\"` under [login]",
            ],
        ),
        Reason::AssertionWrongClient => Advice::new(
            "The assertion names a client id, and the CONNECT carried another one.",
            ["make it for that client id: keygate assert --client-id …"],
        ),
        Reason::ReplayMemoryFull => Advice::new(
            "The device has used as many assertions as are remembered for one device, and they live still.",
            ["log in less often, or with shorter-lived assertions, or with a challenge"],
        ),
        _ => Advice::new(
            "The password is not an assertion as this broker reads it: either another kind of password, or one that was \
             cut or changed on the way.",
            [
                "make it with: keygate assert --id ID --key FILE --aud BROKER",
                "look at it with: keygate token inspect",
            ],
        ),
    }
}

fn of_enrolment(reason: Reason, id: &str) -> Advice {
    let show = format!("see which keys are enrolled: keygate device show {id}");
    match reason {
        Reason::BadSignature => {
            let mut advice = Advice::new(
                "The device named one of its enrolled keys and signed with another, or signed something else than this \
                 login (another broker, client id, will or session), or somebody else tried to be this device.",
                [
                    "compare the public half of the device's private key with the enrolled one: openssl pkey -in FILE \
                     -pubout",
                    "check that the device is configured for this broker's id",
                ],
            );
            advice.next.insert(0, show);
            advice
        }
        Reason::KeyUnknown => {
            let mut advice = Advice::new(
                "The device is enrolled, with other keys than the one it named.",
                ["if its key was replaced on purpose, enrol the new one"],
            );
            advice.next.insert(0, show);
            advice
        }
        Reason::KeyExpired | Reason::KeyNotYetValid => Advice {
            meaning: "The key is enrolled with a time in which it counts, and this is not within it.",
            next: vec![show, "check the broker's clock".into()],
        },
        Reason::UnknownDevice => Advice {
            meaning: "Nothing is enrolled under the id or the key that the peer named. It was told no more than that it \
                      is refused.",
            next: vec![
                format!("enrol it: keygate device add {id} --public-key KEY"),
                "if it should be there, check spelling and case: keygate device list".into(),
            ],
        },
        Reason::DevicePending => Advice {
            meaning: "The device is enrolled and waits for somebody to approve it.",
            next: vec![show],
        },
        Reason::DeviceSuspended => Advice {
            meaning: "An operator locked the device out for the time being.",
            next: vec![format!("if it may come back: keygate device resume {id}")],
        },
        _ => Advice::new(
            "An operator locked the device out for good.",
            ["enrol it under a new id with a new key if it may come back"],
        ),
    }
}

fn of_exchange(reason: Reason) -> Advice {
    match reason {
        Reason::BindingRefused => Advice::new(
            "The proof is bound to its TLS channel in another way than this listener takes.",
            ["use binding 0 on plain listeners"],
        ),
        Reason::BrokerFault => Advice::new(
            "The broker could not do its part: this is not the device's fault.",
            ["read the broker's log on its standard error"],
        ),
        Reason::ChallengeExpired
        | Reason::ChallengeForged
        | Reason::EchoMissing
        | Reason::EchoStale => Advice::new(
            "Challenges live for a minute at most, count at the address that asked, and end when the broker restarts.",
            [
                "the device should ask again and answer at once; on slow links check for lost packets",
            ],
        ),
        Reason::ClientIdNotOwn => Advice::new(
            "The Client Identifier is not one that this device may use here: its own id, or what `client_id` under \
             [login] allows besides. An empty one is taken only where the broker may choose one. The proof itself may \
             have been good.",
            [
                "set the client's Client Identifier to the device's id",
                "for several sessions of one device: `client_id = \"id-or-suffix\"` under [login], then ID/panel, ID/tool",
            ],
        ),
        Reason::UserNameNotOwn => Advice::new(
            "The User Name, if there is one, is the device's id. The proof itself may have been good.",
            ["set the client's User Name to the device's id, or leave it out"],
        ),
        Reason::SessionNotOwn => Advice::new(
            "Somebody else has a session under this Client Identifier, and a session belongs to the identity that opened \
             it. The login was good, and nothing about the other's session has changed.",
            [
                "give the client another Client Identifier; the device's own id, or ID/suffix, is never somebody else's",
                "see who used it: keygate audit",
            ],
        ),
        Reason::SessionsFull => Advice::new(
            "The device has as many sessions as one identity may have, counting those that wait for it to come back.",
            [
                "use the same Client Identifiers again instead of new ones, or end sessions (session expiry 0)",
                "or raise `sessions_per_identity` under [limits]",
            ],
        ),
        Reason::StoreFull => Advice::new(
            "The disk of the broker is full. Sessions that end with their connection are still taken, and so is what needs \
             no place on the disk.",
            [
                "make room on the file system of the data directory; the broker notices within seconds",
            ],
        ),
        Reason::DataMalformed => Advice::new(
            "The authentication data does not have the form that the method prescribes (SPEC.md).",
            ["update the device's client; the format is in SPEC.md of the protocol crate"],
        ),
        Reason::GaveUp | Reason::TimedOut => Advice::new(
            "The connection ended before the device had proved itself: it crashed, lost its network, took longer than \
             the handshake may take, or did not like the broker's answer (it pins another broker key or id).",
            [
                "read the device's own log",
                "check that it pins this broker's id and identity key",
                "on slow links raise `handshake_ms` under [limits]",
            ],
        ),
        Reason::MethodChanged | Reason::MethodUnknown => Advice::new(
            "The device asked for an authentication method that this listener does not take.",
            ["use kg-ed25519, or an assertion as password without an authentication method"],
        ),
        Reason::NoCredentials => Advice::new(
            "The CONNECT carried neither an authentication method nor a password.",
            [
                "configure the client: kg-ed25519, or User Name and an assertion as password (keygate assert)",
                "in a lab, on loopback, clients without credentials are let in by [anonymous] in the configuration, but \
                 never under the name of an enrolled device",
            ],
        ),
        Reason::Throttled => Advice::new(
            "There were so many failures from this address that the broker no longer looks at what comes from it. It \
             passes by itself.",
            ["find out what else fails at that address: keygate audit --refused"],
        ),
        Reason::TwoCredentials => Advice::new(
            "The CONNECT carried both an authentication method and a password; which one should count?",
            ["configure the client for one of them"],
        ),
        Reason::WrongBroker => Advice::new(
            "The device made its proof for another broker. Either it is configured for another one, or somebody relays.",
            [
                "configure the device with this broker's id; `keygate init` and the ready line of serve tell it",
            ],
        ),
        _ => of_request(reason),
    }
}

fn of_request(reason: Reason) -> Advice {
    match reason {
        Reason::AudienceUnknown => Advice::new(
            "The token request names an audience that this broker makes no tokens for.",
            ["ask for the broker itself (its id), or leave the audience out"],
        ),
        Reason::GrantUnsupported | Reason::PopKeyRefused => Advice::new(
            "The token request asks for something that this broker does not do: it grants tokens to a device for itself, \
             bound to the key that signs the request.",
            ["leave grant_type and req_cnf out of the request, as `keygate fetch-token` does"],
        ),
        Reason::ScopeRefused => Advice::new(
            "The token request asks for rights that the device's roles do not give.",
            ["ask for less, or for nothing in particular, which gives all the device may do"],
        ),
        _ => Advice::new("", []),
    }
}

fn of_right(reason: RightReason, id: &str) -> Advice {
    let show = format!("see its roles and groups: keygate device show {id}");
    match reason {
        RightReason::Denied => Advice {
            meaning: "A rule of the policy denies exactly this.",
            next: vec![show],
        },
        RightReason::InvalidTopic => Advice::new(
            "The topic or filter breaks MQTT's own rules for topics, or has too many levels.",
            ["correct it in the device's program"],
        ),
        RightReason::NotGranted => Advice {
            meaning: "No role of the device allows it. A device with role `device` publishes and subscribes below \
                      devices/ID/, except to desired and presence, and takes part in groups/GROUP/state/.",
            next: vec![
                show,
                "correct the topic, or enrol the device with a role or group that allows it".into(),
            ],
        },
        RightReason::Reserved => Advice::new(
            "Only the broker writes there: topics that begin with $, and presence.",
            ["publish somewhere else"],
        ),
        RightReason::Unsupported => Advice::new(
            "This version of the broker does not offer that; its CONNACK said so.",
            ["use what CONNACK declares"],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_meaning_and_a_next_step() {
        for reason in Reason::ALL.iter().copied() {
            let advice = of_refusal(reason, "dev1");
            assert!(!advice.meaning.is_empty(), "{reason:?}");
            assert!(!advice.next.is_empty(), "{reason:?}");
        }
    }
}
