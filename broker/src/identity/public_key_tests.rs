//! Keys of every form, and everything that is none. The key is that of RFC 8032, test 1.
use super::*;

const HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----";
const SSH: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn refused(text: &str) -> PublicKeyError {
    parse_public_key(text).unwrap_err()
}

fn jwk_with(members: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"{members}}}"#)
}

fn pem_of(body: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn every_form_gives_the_same_key() {
    let key = parse_public_key(HEX).unwrap();
    assert_eq!(key.key_id().to_string(), "866eefbd6718c884");
    for text in [
        HEX.to_uppercase(),
        format!("  {HEX}\r\n"),
        PEM.into(),
        PEM.replace('\n', "\r\n") + "\r\n",
        SSH.into(),
        format!("{SSH} me@laptop and more\n"),
        jwk_with(""),
        jwk_with(r#","alg":"EdDSA","use":"sig","kid":"k1","key_ops":["verify"]"#),
        jwk_with(r#","alg":"Ed25519""#),
    ] {
        assert_eq!(parse_public_key(&text), Ok(key), "{text}");
    }
}

#[test]
fn a_private_key_pasted_by_mistake_is_called_one() {
    let pem = PublicKeyError::PrivateKey { form: KeyForm::Pem };
    for label in [
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
    ] {
        let text = format!("-----BEGIN {label}-----\nMC4C\n-----END {label}-----\n");
        assert_eq!(refused(&text), pem, "{label}");
    }
    let jwk = PublicKeyError::PrivateKey { form: KeyForm::Jwk };
    assert_eq!(refused(&jwk_with(r#","d":"nWGxne""#)), jwk);
    assert_eq!(refused(r#"{"kty":"oct","k":"c2VjcmV0"}"#), jwk);
}

#[test]
fn another_algorithm_is_named() {
    let cases = [
        ("ssh-rsa AAAAB3NzaC1yc2E=", "an RSA key"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "a DSA key"),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNh me",
            "an elliptic-curve key (ECDSA)",
        ),
        (
            "sk-ssh-ed25519@openssh.com AAAAGnNr",
            "a key of a FIDO token, which signs nothing but SSH logins",
        ),
        ("-----BEGIN RSA PUBLIC KEY-----\nMIGJ", "an RSA key"),
        (r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#, "an RSA key"),
        (
            r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#,
            "an elliptic-curve key (ECDSA)",
        ),
        (
            r#"{"kty":"OKP","crv":"X25519","x":"AQ"}"#,
            "an X25519 key (for key exchange, it cannot sign)",
        ),
    ];
    for (text, found) in cases {
        assert_eq!(refused(text), other(found), "{text}");
    }
    let pems = [
        (
            "MCowBQYDK2VuAyEAj9qAOGx+r9gDwU1bl0BUxwrb0T3R0szZbK5ZI8qLR2o=",
            "an X25519 key (for key exchange, it cannot sign)",
        ),
        (
            "MEMwBQYDK2VxAzoAyTOOfIyDOEc8WOLTYH7+USLDLJ8pAbvHt8SZD9/aOr7aKaa1\n\
             L5qClTzYus/sFKxTA/hihTikJy4A",
            "an Ed448 key",
        ),
        (
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0V1ZRlU+h0fIG1nr5s3UAh0qu/Ig\n\
             C1GEMCPgRm/fE4zEdkEKhjX+NNYzxYrFjb/DF4pIeGTv1T2SYrgDv/k3Sg==",
            "a P-256 key",
        ),
        (
            "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEpQIKNOMALoOhESDEWs8/kOQNN5T2hl1A\n\
             xWUZ5ukjDCGcps7JK4TC52H6nnUKH0xXZBiHEbEBHWnQK3onWD1pzg==",
            "an elliptic-curve key (ECDSA)",
        ),
        (
            "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDh2WbV5YSK5GO3mWAOKJlqLEW1\n\
             zP07EbwlfqSTxVpdXn5ZSXjVCrTbhzN/vRoJq9+pxqE6fS1Ne6xnIvYn6J9guXQ4\n\
             5Sy0Pzq7YDvOS/ytxB/VoJd/K8HYt+xLoFpaG38bfNO0Wilbfje08ec4R6rVBaIa\n\
             vkOs3GSSPYxkGfOJLQIDAQAB",
            "an RSA key",
        ),
    ];
    for (body, found) in pems {
        assert_eq!(refused(&pem_of(body)), other(found), "{body}");
    }
}

#[test]
fn a_certificate_is_called_one() {
    let text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    assert_eq!(refused(text), PublicKeyError::Certificate);
    assert_eq!(
        refused("ssh-ed25519-cert-v01@openssh.com AAAAIHNz"),
        PublicKeyError::Certificate
    );
}

#[test]
fn hex_has_64_digits() {
    assert_eq!(refused(&HEX[1..]), PublicKeyError::HexLength { digits: 63 });
    assert_eq!(
        refused(&format!("{HEX}{HEX}")),
        PublicKeyError::HexLength { digits: 128 }
    );
}

#[test]
fn a_key_that_is_weak_or_no_point_is_refused_in_every_form() {
    let weak = PublicKeyError::NotUsable(KeyError::Weak);
    let mut identity = [0; 32];
    identity[0] = 1;
    let hex: String = identity.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(refused(&hex), weak);
    let der = [&SPKI_START[..], &identity].concat();
    assert_eq!(refused(&pem_of(&Base64::encode_string(&der))), weak);
    let x = Base64UrlUnpadded::encode_string(&identity);
    assert_eq!(refused(&jwk_with("").replace(X, &x)), weak);
    let no_point = format!("02{}", "00".repeat(31));
    assert_eq!(
        refused(&no_point),
        PublicKeyError::NotUsable(KeyError::NotAPoint)
    );
}

#[test]
fn two_keys_are_not_one() {
    assert_eq!(refused(&format!("{PEM}\n{PEM}")), PublicKeyError::Several);
    assert_eq!(refused(&format!("{SSH}\n{SSH}")), PublicKeyError::Several);
}

#[test]
fn what_is_damaged_is_told() {
    let malformed = |form, what| PublicKeyError::Malformed { form, what };
    let cases = [
        (
            PEM.replace("MCow", "MC*w"),
            malformed(KeyForm::Pem, "it is not base64"),
        ),
        (
            PEM.replace("-----END PUBLIC KEY-----", ""),
            malformed(KeyForm::Pem, "the line -----END PUBLIC KEY----- is missing"),
        ),
        (
            pem_of("MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcH"),
            malformed(KeyForm::Pem, "the key does not have 32 bytes"),
        ),
        (
            pem_of("MCow"),
            malformed(
                KeyForm::Pem,
                "it is not the SubjectPublicKeyInfo of an Ed25519 key",
            ),
        ),
        (
            PEM.replace("PUBLIC", "PRETTY"),
            malformed(KeyForm::Pem, "the first line does not say PUBLIC KEY"),
        ),
        (
            "ssh-ed25519".into(),
            malformed(KeyForm::OpenSsh, "the key is missing"),
        ),
        (
            SSH.replace("AAAAC3", "AAAAC4"),
            malformed(KeyForm::OpenSsh, "it does not hold one Ed25519 key"),
        ),
        (
            "{".into(),
            malformed(KeyForm::Jwk, "it is not one JSON object"),
        ),
        (
            r#"{"keys":[]}"#.into(),
            malformed(KeyForm::Jwk, "it is a set of keys; give one key of it"),
        ),
        (
            jwk_with(r#","alg":"ES256""#),
            malformed(KeyForm::Jwk, "alg must be EdDSA or Ed25519"),
        ),
        (
            jwk_with(r#","use":"enc""#),
            malformed(KeyForm::Jwk, "use must be sig"),
        ),
        (
            jwk_with("").replace(X, &format!("{X}=")),
            malformed(KeyForm::Jwk, "x must be 32 bytes in unpadded base64url"),
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519"}"#.into(),
            malformed(KeyForm::Jwk, "x is missing"),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(refused(&text), error, "{text}");
    }
}

#[test]
fn anything_else_is_not_recognised() {
    assert_eq!(refused(" \n"), PublicKeyError::Empty);
    for text in ["hello", "command=\"x\" ssh-ed25519 AAAA", "d75a98-"] {
        assert_eq!(refused(text), PublicKeyError::Unrecognised, "{text}");
    }
    assert_eq!(refused(&"a".repeat(9_000)), PublicKeyError::Unrecognised);
}
