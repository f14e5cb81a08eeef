//! The form: what a stranger can get wrong, and what is refused before anybody is looked up.
use super::*;
use RefusalReason::{
    AssertionAlgorithm as ALGORITHM, AssertionMalformed as MALFORMED, AssertionWrongType as TYPE,
};

#[test]
fn another_algorithm_or_type_is_refused() {
    let mut house = house();
    let good = claims("n-1", "n-1");
    for alg in ["none", "HS256", "ES256", "ed25519", ""] {
        let header = HEADER.replace("Ed25519", alg);
        let answer = log_in_with(&mut house, &header, &good);
        assert_refused(answer, ALGORITHM, Some("dev-1"), &header);
    }
    for typ in [
        "JWT",
        "at+jwt",
        "Keygate-Login+JWT",
        "application/keygate-login+jwt",
        "",
    ] {
        let header = HEADER.replace("keygate-login+jwt", typ);
        let answer = log_in_with(&mut house, &header, &good);
        assert_refused(answer, TYPE, Some("dev-1"), &header);
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn a_header_that_is_not_exactly_ours_is_refused() {
    let mut house = house();
    let good = claims("n-1", "n-1");
    let more = |member: &str| HEADER.replace('}', &format!(",{member}}}"));
    for header in [
        r#"{"alg":"Ed25519"}"#.into(),
        r#"{"typ":"keygate-login+jwt"}"#.into(),
        r#"{"alg":7,"typ":"keygate-login+jwt"}"#.into(),
        r#"["Ed25519","keygate-login+jwt"]"#.into(),
        more(r#""crit":["b64"],"b64":false"#),
        more(r#""jwk":{}"#),
        more(r#""alg":"Ed25519""#),
        more(r#""\u0061lg":"none""#),
        more(r#""kid":null"#),
        format!("{HEADER} x"),
    ] {
        let answer = log_in_with(&mut house, &header, &good);
        assert_refused(answer, MALFORMED, Some("dev-1"), &header);
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn a_claim_stands_once_and_is_of_its_type() {
    let twice = |more: &str| claims(r#""jti""#, &format!(r#"{more},"jti""#));
    let exp = (WALL.0 + 300).to_string();
    all_refused(&[
        ("twice", twice(r#""iss":"dev-1""#), MALFORMED),
        ("twice, escaped", twice(r#""\u0069ss":"dev-2""#), MALFORMED),
        ("unknown, twice", twice(r#""x":1,"x":2"#), MALFORMED),
        ("null", claims(r#""n-1""#, "null"), MALFORMED),
        ("float", claims(&exp, &format!("{exp}.5")), MALFORMED),
        ("exponent", claims(&exp, "19e8"), MALFORMED),
        (
            "number as text",
            claims(&exp, &format!(r#""{exp}""#)),
            MALFORMED,
        ),
        ("negative", claims(&WALL.0.to_string(), "-1"), MALFORMED),
        ("array", format!("[{}]", claims("n-1", "n-1")), MALFORMED),
        ("trailing", claims("n-1", "n-1") + " {}", MALFORMED),
    ]);
}

#[test]
fn an_assertion_that_goes_with_a_token_is_none_alone() {
    let with_ath = claims(r#""jti""#, r#""ath":"x","jti""#);
    all_refused(&[("ath", with_ath, TYPE)]);
}

#[test]
fn text_that_is_no_jws_is_refused() {
    let mut house = house();
    let good = with_times(WALL.0, WALL.0 + 300, "n-1");
    let parts: Vec<&str> = good.split('.').collect();
    let long = format!("{}{}", good, "A".repeat(1024));
    let table = [
        ("no dots", "eyJ".into()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("padded", format!("{good}==")),
        ("short signature", good[..good.len() - 4].to_owned()),
        (
            "left-over bits",
            format!("{}{}", &good[..good.len() - 1], flipped_last(&good)),
        ),
        ("standard alphabet", good.replacen('.', "+.", 1)),
        ("white space", good.replacen('.', ".\n", 1)),
        ("empty claims", format!("{}..{}", parts[0], parts[2])),
        ("too long", long),
    ];
    for (what, password) in table {
        let answer = login(&mut house, "dev-1", &password);
        assert_refused(
            answer,
            RefusalReason::AssertionMalformed,
            Some("dev-1"),
            what,
        );
    }
}

/// Another last character for the same 64 bytes: 86 characters carry four bits too many.
fn flipped_last(text: &str) -> char {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *text.as_bytes().last().unwrap();
    let value = ALPHABET.iter().position(|c| *c == last).unwrap();
    char::from(ALPHABET[value ^ 1])
}

proptest::proptest! {
    /// Nothing that somebody without a key sends is accepted, panics, or is remembered.
    #[test]
    fn noise_is_refused(
        cut in 0_usize..400,
        byte in proptest::prelude::any::<u8>(),
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        let mut house = house();
        let good = with_times(WALL.0, WALL.0 + 300, "n-1").into_bytes();
        let cut = cut.min(good.len() - 1);
        let mut changed = good.clone();
        changed[cut] = byte;
        let mut glued = good[..cut].to_vec();
        glued.extend_from_slice(&tail);
        for noise in [changed, glued] {
            if noise != good {
                let mut connect = with_password("dev-1", "");
                connect.password = Some(&noise);
                proptest::prop_assert!(house.decide(&connect, &ListenerRules::plain()).is_err());
            }
        }
        proptest::prop_assert_eq!(remembered(&house), (0, 0));
    }
}
