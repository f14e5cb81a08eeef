use super::*;
use crate::vectors::{self, hex};

#[test]
fn keys_and_thumbprints_are_those_of_the_vectors() {
    let vectors = vectors::standards();
    let device = SoftwareSigner::from_seed(&vectors::DEVICE_SEED);
    assert_eq!(
        device.public_key().as_bytes()[..],
        hex(&vectors["keys"]["device_pub"])
    );
    assert_eq!(
        device.public_key().thumbprint()[..],
        hex(&vectors["ckt_sha256"])
    );
    let broker = SoftwareSigner::from_seed(&vectors::BROKER_SEED);
    assert_eq!(
        broker.public_key().as_bytes()[..],
        hex(&vectors["keys"]["as_pub"])
    );
    assert_eq!(broker.key_id().as_bytes()[..], hex(&vectors["as_kid"]));
    assert_eq!(broker.public_key().key_id(), broker.key_id());
}

#[test]
fn signs_and_verifies_what_the_vectors_signed() {
    let vectors = vectors::standards();
    let mut broker = SoftwareSigner::from_seed(&vectors::BROKER_SEED);
    for name in ["cwt_alg_-19", "cwt_alg_-8"] {
        let tbs = hex(&vectors[name]["tbs"]);
        let message = Signable::sig_structure(&tbs).unwrap();
        let signature = broker.sign(&message).unwrap();
        assert_eq!(signature.as_bytes()[..], hex(&vectors[name]["signature"]));
        assert_eq!(broker.public_key().verify(&message, &signature), Ok(()));
    }
    let jwt = vectors["private_key_jwt"].as_str().unwrap();
    let (input, _) = jwt.rsplit_once('.').unwrap();
    assert!(Signable::jws_input(input.as_bytes()).is_ok());
}

#[test]
fn verify_refuses_another_message_key_or_signature() {
    let tbs = hex(&vectors::standards()["cwt_alg_-19"]["tbs"]);
    let message = Signable::sig_structure(&tbs).unwrap();
    let mut signer = SoftwareSigner::from_seed(&vectors::BROKER_SEED);
    let key = signer.public_key();
    let signature = signer.sign(&message).unwrap();

    let mut other_tbs = tbs.clone();
    *other_tbs.last_mut().unwrap() ^= 1;
    assert_eq!(
        key.verify(&Signable::sig_structure(&other_tbs).unwrap(), &signature),
        Err(BadSignature)
    );
    let device = SoftwareSigner::from_seed(&vectors::DEVICE_SEED).public_key();
    assert_eq!(device.verify(&message, &signature), Err(BadSignature));
    assert_eq!(
        PublicKey::nobody().verify(&message, &signature),
        Err(BadSignature)
    );
    for bit in 0..512 {
        let mut bytes = *signature.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            key.verify(&message, &Signature::from_bytes(bytes)),
            Err(BadSignature),
            "bit {bit}"
        );
    }
}

#[test]
fn verify_refuses_s_beyond_the_group_order() {
    // RFC 8032 §5.1.7: S + L verifies in a lax implementation, and gives one message two signatures.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let tbs = hex(&vectors::standards()["cwt_alg_-19"]["tbs"]);
    let message = Signable::sig_structure(&tbs).unwrap();
    let mut signer = SoftwareSigner::from_seed(&vectors::BROKER_SEED);
    let mut bytes = *signer.sign(&message).unwrap().as_bytes();
    let mut carry = 0;
    for (s, l) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(
        signer
            .public_key()
            .verify(&message, &Signature::from_bytes(bytes)),
        Err(BadSignature)
    );
}

#[test]
fn weak_and_malformed_public_keys_are_refused_by_rule() {
    let identity = {
        let mut key = [0; 32];
        key[0] = 1;
        key
    };
    assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
    // Order 4: y = 0.
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
    // Order 8.
    let order_8 = hex(&"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".into());
    assert_eq!(PublicKey::from_slice(&order_8), Err(KeyError::Weak));
    // y = 2^255 - 19 is 0 again, and y = p + 3 is a strong point with a second name.
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    assert_eq!(PublicKey::from_bytes(&p), Err(KeyError::NotCanonical));
    p[0] = 0xf0;
    assert_eq!(PublicKey::from_bytes(&p), Err(KeyError::NotCanonical));
    let off_curve = {
        let mut key = [0; 32];
        key[0] = 2;
        key
    };
    assert_eq!(PublicKey::from_bytes(&off_curve), Err(KeyError::NotAPoint));
    assert_eq!(PublicKey::from_slice(&[1; 31]), Err(KeyError::WrongLength));
    assert_eq!(PublicKey::from_slice(&[1; 33]), Err(KeyError::WrongLength));
}

#[test]
fn the_key_of_nobody_is_a_good_key_made_in_the_open() {
    assert_eq!(NOBODY, sha256(&[b"keygate: a key of nobody, ", b"try 0"]));
    assert_eq!(PublicKey::from_bytes(&NOBODY), Ok(PublicKey::nobody()));
}

#[test]
fn signable_takes_only_its_two_kinds() {
    let sig_structure = |bytes: &[u8]| Signable::sig_structure(bytes).map(|_| ());
    assert_eq!(sig_structure(&[0x84; 32]), Err(SignableError::TooShort));
    assert_eq!(
        sig_structure(&[0x84; 33]),
        Err(SignableError::NotASigStructure)
    );
    assert_eq!(
        sig_structure(b"\x84\x69Signature0123456789012345678901234"),
        Err(SignableError::NotASigStructure)
    );
    assert_eq!(
        sig_structure(b"\x84\x6aSignature1012345678901234567890123"),
        Ok(())
    );

    let jws_input = |bytes: &[u8]| Signable::jws_input(bytes).map(|_| ());
    assert_eq!(
        jws_input(b"abcdefghijklmnop.abcdefghijklmno"),
        Err(SignableError::TooShort)
    );
    assert_eq!(jws_input(b"abcdefghijklmnop.abcdefghijklmnop"), Ok(()));
    for bad in [
        &b"abcdefghijklmnopabcdefghijklmnopqr"[..],
        b"abcdefghijklmnop.abcdefgh.jklmnop",
        b".abcdefghijklmnopabcdefghijklmnopqr",
        b"abcdefghijklmnopabcdefghijklmnopqr.",
        b"abcdefghijklmnop.abcdefgh=jklmnopq",
        b"\x84abcdefghijklmnop.abcdefghijklmnop",
    ] {
        assert_eq!(jws_input(bad), Err(SignableError::NotAJwsInput));
    }
}

#[test]
fn a_signer_never_prints_its_key() {
    let printed = std::format!("{:?}", SoftwareSigner::from_seed(&vectors::DEVICE_SEED));
    assert_eq!(printed, "SoftwareSigner(866eefbd6718c884, private)");
}

#[test]
fn a_stored_key_is_taken_back_only_under_its_id() {
    let key = PublicKey::nobody();
    assert_eq!(PublicKey::from_stored(&NOBODY, key.key_id()), Ok(key));
    for bit in 0..256 {
        let mut bytes = NOBODY;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            PublicKey::from_stored(&bytes, key.key_id()),
            Err(KeyError::NotItsId)
        );
    }
}

#[test]
fn a_weak_key_out_of_a_store_that_lies_verifies_nothing() {
    // The identity point, under which R = identity and S = 0 fit every message that is not checked strictly.
    let mut identity = [0; 32];
    identity[0] = 1;
    let key_id = PublicKey(identity).key_id();
    let weak = PublicKey::from_stored(&identity, key_id).unwrap();
    let mut forged = [0; 64];
    forged[0] = 1;
    let tbs = hex(&vectors::standards()["cwt_alg_-19"]["tbs"]);
    let message = Signable::sig_structure(&tbs).unwrap();
    assert_eq!(
        weak.verify(&message, &Signature::from_bytes(forged)),
        Err(BadSignature)
    );
}
