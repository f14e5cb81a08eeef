use super::*;
use crate::authz::{Action, Policy, Role};
use crate::identity::{Device, DeviceKey, Directory, MemoryStore, NewDevice, Registry, Transition};
use crate::keys::{DataDir, TokenKeys};
use crate::rng::SeededRandom;
use base64ct::{Base64UrlUnpadded, Encoding};
use keygate_protocol::crypto::{SoftwareSigner, sha256};
use keygate_protocol::cwt::{self, Claims, ClaimsError, CwtError, Untrusted};
use keygate_protocol::ident::Id;
use keygate_protocol::scope::{Permissions, Rule, Scope};
use keygate_protocol::sink::SliceSink;
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::TopicFilter;
use std::sync::Arc;

const BROKER: &str = "kg-7f3a9c";
const IAT: UnixTime = UnixTime(1_900_000_000);
const CTI: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

fn key(n: u8) -> SoftwareSigner {
    SoftwareSigner::from_seed(&[n; 32])
}

/// A broker with `dev1` (key 1), and its token keys in a directory of their own.
struct Office {
    registry: Registry,
    keys: Arc<TokenKeys>,
    _dir: tempfile::TempDir,
}

fn office() -> Office {
    let mut random = SeededRandom::new(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let data = DataDir::init(&path, Some(Id::new(BROKER).unwrap()), IAT, &mut random).unwrap();
    let registry = Registry::new(MemoryStore::new(), &mut random).unwrap();
    registry.add(&enrolled("dev1", &["g1"], 1)).unwrap();
    Office {
        registry,
        keys: Arc::new(data.token_keys().unwrap()),
        _dir: dir,
    }
}

fn enrolled(id: &str, groups: &[&str], n: u8) -> NewDevice {
    let mut new = NewDevice::new(id, key(n).public_key());
    new.groups = groups.iter().map(|group| (*group).into()).collect();
    new
}

impl Office {
    fn directory(&self) -> Arc<Directory> {
        self.registry.directory()
    }

    fn device(&self) -> Arc<Device> {
        self.directory().device("dev1").unwrap()
    }

    fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new(BROKER, Arc::clone(&self.keys), self.directory()).unwrap()
    }

    fn issue(&self, request: &TokenRequest<'_>) -> Result<Issued, TokenError> {
        self.issue_under(&Policy::builtin(), request)
    }

    fn issue_under(
        &self,
        policy: &Policy,
        request: &TokenRequest<'_>,
    ) -> Result<Issued, TokenError> {
        let issuer = TokenIssuer::new(BROKER, ["kg-old".into()], TOKEN_LIFE_S).unwrap();
        issuer.issue(policy, request, &mut self.keys.signing())
    }

    /// A token for all that dev1 may do.
    fn token(&self) -> Vec<u8> {
        self.issue(&request(&self.device())).unwrap().token
    }
}

fn request(device: &Device) -> TokenRequest<'_> {
    TokenRequest {
        device,
        key: &device.keys[0],
        audience: None,
        scope: None,
        cti: CTI,
        issued_at: IAT,
    }
}

fn scope(rules: &[(&str, Permissions)]) -> Vec<u8> {
    let rules: Vec<Rule<'_>> = rules
        .iter()
        .map(|(filter, p)| Rule::new(TopicFilter::new(filter).unwrap(), *p).unwrap())
        .collect();
    let mut bytes = [0; 1024];
    let mut sink = SliceSink::new(&mut bytes);
    Scope::encode(&rules, &mut sink).unwrap();
    sink.written().to_vec()
}

// --- issuing ----------------------------------------------------------------------------------------------------------

#[test]
fn a_token_says_what_was_proved_and_what_roles_give() {
    let office = office();
    let device = office.device();
    let issued = office.issue(&request(&device)).unwrap();
    let claims = Untrusted::decode(&issued.token)
        .unwrap()
        .unverified_claims()
        .unwrap();
    assert_eq!(
        (claims.iss.as_str(), claims.sub.as_str(), claims.aud),
        (BROKER, "dev1", BROKER)
    );
    assert_eq!((claims.iat, claims.exp), (IAT, IAT.plus(3_600)));
    assert_eq!((claims.cti, claims.cnf), (CTI, key(1).public_key()));
    let expected = scope(&[
        ("devices/dev1/#", Permissions::Both),
        ("groups/g1/state/dev1", Permissions::Publish),
        ("groups/g1/state/+", Permissions::Subscribe),
    ]);
    assert_eq!(claims.scope, expected);
    assert_eq!((issued.expires_at, issued.scope), (IAT.plus(3_600), None));
}

#[test]
fn the_same_proof_gives_the_same_token_and_another_another() {
    let office = office();
    let device = office.device();
    let first = office.issue(&request(&device)).unwrap();
    assert_eq!(office.issue(&request(&device)).unwrap(), first);
    let other = TokenRequest {
        cti: [9; 8],
        ..request(&device)
    };
    assert_ne!(office.issue(&other).unwrap().token, first.token);
}

#[test]
fn a_requested_scope_narrows_and_never_widens() {
    let office = office();
    let device = office.device();
    let issue = |asked: &[u8]| {
        office.issue(&TokenRequest {
            scope: Some(asked),
            ..request(&device)
        })
    };
    let inside = scope(&[("devices/dev1/data/#", Permissions::Publish)]);
    assert_eq!(issue(&inside).unwrap().scope, None);

    let wide = scope(&[
        ("devices/#", Permissions::Both),
        ("devices/dev2/#", Permissions::Both),
    ]);
    let issued = issue(&wide).unwrap();
    let given = scope(&[("devices/dev1/#", Permissions::Both)]);
    assert_eq!(issued.scope, Some(given.clone()));
    let claims = Untrusted::decode(&issued.token)
        .unwrap()
        .unverified_claims()
        .unwrap();
    assert_eq!(claims.scope, given);
}

#[test]
fn what_cannot_be_issued_is_refused() {
    let office = office();
    let device = office.device();
    let good = request(&device);
    let foreign = scope(&[("devices/dev2/#", Permissions::Both)]);
    let nothing = scope(&[]);
    let table: [(&str, TokenRequest<'_>, TokenError); 5] = [
        (
            "audience",
            TokenRequest {
                audience: Some("other"),
                ..good
            },
            TokenError::AudienceUnknown,
        ),
        (
            "foreign scope",
            TokenRequest {
                scope: Some(&foreign),
                ..good
            },
            TokenError::ScopeRefused,
        ),
        (
            "empty scope",
            TokenRequest {
                scope: Some(&nothing),
                ..good
            },
            TokenError::ScopeRefused,
        ),
        (
            "no scope",
            TokenRequest {
                scope: Some(b"\xa0"),
                ..good
            },
            TokenError::ScopeMalformed(Scope::decode(b"\xa0").unwrap_err()),
        ),
        (
            "trailing",
            TokenRequest {
                scope: Some(b"\x80\x80"),
                ..good
            },
            TokenError::ScopeMalformed(Scope::decode(b"\x80\x80").unwrap_err()),
        ),
    ];
    for (what, request, error) in table {
        assert_eq!(office.issue(&request), Err(error), "{what}");
    }
    for name in [BROKER, "kg-old"] {
        let issued = office
            .issue(&TokenRequest {
                audience: Some(name),
                ..good
            })
            .unwrap();
        let claims = Untrusted::decode(&issued.token)
            .unwrap()
            .unverified_claims()
            .unwrap();
        assert_eq!(claims.aud, BROKER, "{name}");
    }
}

#[test]
fn a_device_without_rights_gets_no_token() {
    let office = office();
    let mut device = (*office.device()).clone();
    device.roles = Box::default();
    assert_eq!(
        office.issue(&request(&device)),
        Err(TokenError::ScopeRefused)
    );
    let mut device = (*office.device()).clone();
    device.state = crate::identity::DeviceState::Suspended;
    assert_eq!(
        office.issue(&request(&device)),
        Err(TokenError::ScopeRefused)
    );
}

#[test]
fn a_token_ends_with_its_key() {
    let office = office();
    let device = office.device();
    let until = |end| DeviceKey {
        not_after: Some(end),
        ..device.keys[0].clone()
    };
    let (soon, over) = (until(IAT.plus(10)), until(IAT));
    let issued = office
        .issue(&TokenRequest {
            key: &soon,
            ..request(&device)
        })
        .unwrap();
    assert_eq!(issued.expires_at, IAT.plus(10));
    let answer = office.issue(&TokenRequest {
        key: &over,
        ..request(&device)
    });
    assert_eq!(answer, Err(TokenError::KeyExpired));
}

/// The names and rules of the worked example (standards-vectors, `cwt_alg_-19`: 208 bytes).
#[test]
fn a_token_with_two_topic_rules_has_at_most_210_bytes() {
    let office = office();
    let both = [Action::Publish, Action::Subscribe];
    let policy = Policy::new([Role::new("device")
        .allow(&both, &["d/{device}/#"])
        .and_then(|role| role.allow(&[Action::Subscribe], &["cmd/+"]))
        .unwrap()]);
    let device = office.device();
    let issuer = TokenIssuer::new("broker1", [], TOKEN_LIFE_S).unwrap();
    let issued = issuer
        .issue(&policy, &request(&device), &mut office.keys.signing())
        .unwrap();
    // iss is the broker's name here, four bytes longer than the example's.
    assert_eq!(issued.token.len(), 212);
    let issuer = TokenIssuer::new("kg-1", [], TOKEN_LIFE_S).unwrap();
    let issued = issuer
        .issue(&policy, &request(&device), &mut office.keys.signing())
        .unwrap();
    assert!(issued.token.len() <= 210, "{}", issued.token.len());
    // The built-in rights: one rule alone, three with a group.
    let mut alone = (*device).clone();
    alone.groups = Box::default();
    assert_eq!(office.issue(&request(&alone)).unwrap().token.len(), 210);
    assert_eq!(office.token().len(), 261);
}

#[test]
fn a_device_in_many_groups_is_told_to_ask_for_less() {
    let office = office();
    let groups: Vec<String> = (0..60).map(|n| format!("group-{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    office.registry.add(&enrolled("dev2", &groups, 2)).unwrap();
    let device = office.directory().device("dev2").unwrap();
    assert_eq!(
        office.issue(&request(&device)),
        Err(TokenError::TooLarge { rules: 121 })
    );
    let asked = scope(&[("groups/group-7/state/#", Permissions::Both)]);
    let issued = office
        .issue(&TokenRequest {
            scope: Some(&asked),
            ..request(&device)
        })
        .unwrap();
    assert!(issued.scope.is_some());

    // Few enough rules, but too long.
    let long: Vec<String> = (0..12).map(|n| format!("{n}{}", "g".repeat(60))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    office.registry.add(&enrolled("dev3", &long, 3)).unwrap();
    let device = office.directory().device("dev3").unwrap();
    assert_eq!(
        office.issue(&request(&device)),
        Err(TokenError::TooLarge { rules: 25 })
    );
}

#[test]
fn whatever_is_issued_fits_its_answer() {
    let office = office();
    for count in 1..14_u8 {
        let groups: Vec<String> = (0..count)
            .map(|n| format!("a-rather-long-group-{n}"))
            .collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let id = format!("some-device-{count}");
        office
            .registry
            .add(&enrolled(&id, &groups, 100 + count))
            .unwrap();
        let device = office.directory().device(&id).unwrap();
        let wide = scope(&[("#", Permissions::Both)]);
        for asked in [None, Some(&wide[..])] {
            let request = TokenRequest {
                scope: asked,
                ..request(&device)
            };
            match office.issue(&request) {
                Ok(issued) => {
                    let told = issued.scope.map_or(0, |scope| scope.len());
                    assert!(issued.token.len() + told <= ANSWER_LEN_MAX);
                }
                Err(error) => assert!(matches!(error, TokenError::TooLarge { .. }), "{error}"),
            }
        }
    }
}

// --- verifying --------------------------------------------------------------------------------------------------------

#[test]
fn a_good_token_names_its_subject_and_key() {
    let office = office();
    let verified = office
        .verifier()
        .verify(&office.token(), IAT.plus(3_599))
        .unwrap();
    assert_eq!(&*verified.device.id, "dev1");
    assert_eq!(verified.key_id, key(1).public_key().key_id());
    assert_eq!((verified.cti, verified.expires_at), (CTI, IAT.plus(3_600)));
    assert!(Scope::decode(&verified.scope).is_ok());
}

#[test]
fn tokens_of_the_wrong_time_name_or_signer_are_refused() {
    let office = office();
    let token = office.token();
    let at = |wall| office.verifier().verify(&token, wall).map(drop);
    assert_eq!(
        at(IAT.plus(3_600)),
        Err(TokenRefusal::Claims(ClaimsError::Expired))
    );
    assert_eq!(
        at(UnixTime(IAT.0 - 1)),
        Err(TokenRefusal::Claims(ClaimsError::NotYetValid))
    );

    let device = office.device();
    let forge = |iss: &str, aud: &str, signer: &mut SoftwareSigner| {
        let claims = Claims {
            iss: Id::new(iss).unwrap(),
            sub: Id::new("dev1").unwrap(),
            aud,
            exp: IAT.plus(60),
            iat: IAT,
            cti: CTI,
            cnf: device.keys[0].public,
            scope: b"\x80",
        };
        let mut bytes = [0; 512];
        let mut sink = SliceSink::new(&mut bytes);
        cwt::issue(&claims, signer, &mut sink).unwrap();
        sink.written().to_vec()
    };
    let verify = |token: &[u8]| office.verifier().verify(token, IAT).map(drop);
    let mut ours = office.keys.signing();
    assert_eq!(verify(&forge(BROKER, BROKER, &mut ours)), Ok(()));
    let claims = |error| Err(TokenRefusal::Claims(error));
    assert_eq!(
        verify(&forge("kg-x", BROKER, &mut ours)),
        claims(ClaimsError::WrongIssuer)
    );
    assert_eq!(
        verify(&forge(BROKER, "kg-x", &mut ours)),
        claims(ClaimsError::WrongAudience)
    );
    // The device's own key, and anybody's.
    for n in [1, 50] {
        let forged = forge(BROKER, BROKER, &mut key(n));
        assert_eq!(verify(&forged), Err(TokenRefusal::UnknownSigner));
    }
}

#[test]
fn a_changed_token_is_refused_whatever_was_changed() {
    let office = office();
    let token = office.token();
    let verifier = office.verifier();
    for i in 0..token.len() {
        let mut changed = token.clone();
        changed[i] ^= 1;
        assert!(verifier.verify(&changed, IAT).is_err(), "byte {i}");
    }
    assert!(verifier.verify(&token[..token.len() - 1], IAT).is_err());
    assert!(verifier.verify(&[&token[..], b"\0"].concat(), IAT).is_err());
}

#[test]
fn a_token_is_worth_what_its_subject_is_worth() {
    let office = office();
    let token = office.token();
    let verify = || office.verifier().verify(&token, IAT).map(drop);
    office
        .registry
        .transition("dev1", Transition::Suspend)
        .unwrap();
    assert_eq!(verify(), Err(TokenRefusal::NotActive));
    office
        .registry
        .transition("dev1", Transition::Resume)
        .unwrap();
    assert_eq!(verify(), Ok(()));
    office
        .registry
        .transition("dev1", Transition::Revoke)
        .unwrap();
    assert_eq!(verify(), Err(TokenRefusal::NotActive));
    office.registry.remove("dev1").unwrap();
    assert_eq!(verify(), Err(TokenRefusal::SubjectUnknown));
    // The id lives again, with another key: the old token is bound to one that is gone.
    office.registry.add(&enrolled("dev1", &[], 9)).unwrap();
    assert_eq!(verify(), Err(TokenRefusal::KeyNotActive));
}

// --- inspecting -------------------------------------------------------------------------------------------------------

#[test]
fn inspect_prints_what_a_token_says() {
    let office = office();
    let token = office.token();
    let find = |key_id| office.keys.find(key_id, IAT).map(|key| key.public_key);
    let seen = inspect(&token, find).unwrap();
    assert_eq!(seen.signature_valid, Some(true));
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["format"], "cwt");
    assert_eq!(json["issuer"], BROKER);
    assert_eq!(json["subject"], "dev1");
    assert_eq!(json["token_id"], "0001020304050607");
    assert_eq!(json["expires_at"], IAT.0 + 3_600);
    assert_eq!(json["bound_to"], key(1).public_key().key_id().to_string());
    assert_eq!(
        json["scope"][1],
        serde_json::json!({"filter": "groups/g1/state/dev1", "publish": true, "subscribe": false})
    );
    // RFC 9770: 0x01 and the hash of the token as text.
    let text = Base64UrlUnpadded::encode_string(&token);
    let hash = sha256(&[text.as_bytes()]);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seen.hash, format!("01{hex}"));
}

#[test]
fn inspect_takes_base64url_and_hex_and_says_when_nobody_vouches() {
    let office = office();
    let token = office.token();
    let hex: String = token.iter().map(|byte| format!("{byte:02X}")).collect();
    let text = Base64UrlUnpadded::encode_string(&token);
    for text in [format!(" {hex}\n"), format!("{text}\n")] {
        let seen = inspect_text(&text, |_| None).unwrap();
        assert_eq!(
            (seen.subject.as_str(), seen.signature_valid),
            ("dev1", None)
        );
    }
    let other = inspect(&token, |_| Some(key(50).public_key())).unwrap();
    assert_eq!(other.signature_valid, Some(false));
}

#[test]
fn inspect_refuses_what_is_no_token() {
    let refused = |text: &str| inspect_text(text, |_| None).unwrap_err();
    assert_eq!(refused("not a token!"), InspectError::Text);
    assert_eq!(refused("2"), InspectError::Text);
    assert!(matches!(refused(""), InspectError::Cwt(_)));
    assert!(matches!(refused("d83dd284"), InspectError::Cwt(_)));
    assert_eq!(
        refused(&"A".repeat(3_000)),
        InspectError::Cwt(CwtError::TooLong)
    );
    assert_eq!(refused(&"é".repeat(20)), InspectError::Text);
}

/// An independent decoder reads what is issued.
#[test]
fn serde_cbor_reads_a_token() {
    let office = office();
    let token = office.token();
    let value: serde_cbor::Value = serde_cbor::from_slice(&token).unwrap();
    // It reads over the tags.
    let serde_cbor::Value::Array(parts) = value else {
        panic!("no COSE_Sign1: {value:?}");
    };
    assert_eq!(parts.len(), 4);
    let serde_cbor::Value::Bytes(payload) = &parts[2] else {
        panic!("no payload");
    };
    let claims: std::collections::BTreeMap<i64, serde_cbor::Value> =
        serde_cbor::from_slice(payload).unwrap();
    assert_eq!(
        claims.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4, 6, 7, 8, 9]
    );
    assert_eq!(claims[&2], serde_cbor::Value::Text("dev1".into()));
}
