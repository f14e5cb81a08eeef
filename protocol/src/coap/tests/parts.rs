use super::*;

#[test]
fn paths_are_bounded() {
    assert_eq!(Path::new([]).map(|path| path.segments().len()), Ok(0));
    assert_eq!(Path::new(["a", ""]), Err(PathError::EmptySegment));
    assert_eq!(Path::new(["."]), Err(PathError::DotSegment));
    assert_eq!(Path::new(["a", ".."]), Err(PathError::DotSegment));
    assert!(Path::new(["a"; PATH_SEGMENTS_MAX]).is_ok());
    assert_eq!(
        Path::new(["a"; PATH_SEGMENTS_MAX + 1]),
        Err(PathError::TooManySegments)
    );
    let long = "x".repeat(PATH_LEN_MAX);
    assert_eq!(
        Path::new([long.as_str()]).map(|path| std::format!("{path}").len()),
        Ok(256)
    );
    assert_eq!(Path::new([long.as_str(), "x"]), Err(PathError::TooLong));
}

#[test]
fn echo_values_are_bounded() {
    assert_eq!(Echo::new(&[]), Err(EchoError));
    assert!(Echo::new(&[0; 1]).is_ok());
    assert!(Echo::new(&[0; ECHO_LEN_MAX]).is_ok());
    assert_eq!(Echo::new(&[0; ECHO_LEN_MAX + 1]), Err(EchoError));
}

#[test]
fn codes_print_as_the_rfc_writes_them() {
    assert_eq!(
        std::format!("{} {} {}", Code::POST, Code::CONTENT, Code(0x9d)),
        "0.02 2.05 4.29"
    );
}

#[test]
fn a_challenge_is_that_of_the_spec_and_strict() {
    let bytes = b"\xa3\x03\x69kg-7f3a9c\x06\x1a\x71\x40\0\0\x18\x27\x77cUAAAAARIjNEqrvM3QABAgM";
    let answer = ChallengeAnswer {
        broker_id: broker_id(),
        time: UnixTime(1_900_019_712),
        cnonce: "cUAAAAARIjNEqrvM3QABAgM",
    };
    assert_eq!(ChallengeAnswer::decode(bytes), Ok(answer));
    let mut out = Body::new();
    answer.encode(&mut out).unwrap();
    assert_eq!(out[..], bytes[..]);
    reread(&out);
    let cases: &[(&[u8], ChallengeError)] = &[
        (b"\xa0", ChallengeError::Missing),
        (b"\xa2\x03\x61k\x18\x27\x61a", ChallengeError::Missing),
        (b"\xa2\x06\x01\x18\x27\x61a", ChallengeError::Missing),
        (b"\xa3\x03\x61k\x06\x01\x18\x27\x60", ChallengeError::Cnonce),
        (
            b"\xa3\x03\x61k\x06\x01\x18\x27\x62a=",
            ChallengeError::Cnonce,
        ),
        (
            b"\xa3\x03\x60\x06\x01\x18\x27\x61a",
            ChallengeError::BrokerId(IdError::Empty),
        ),
        (
            b"\xa3\x03\x61k\x06\x20\x18\x27\x61a",
            ChallengeError::Cbor(CborError::UnexpectedType),
        ),
        (
            b"\xa4\x03\x61k\x06\x01\x18\x27\x61a\x61a\x01",
            ChallengeError::UnknownMember,
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(ChallengeAnswer::decode(bytes), Err(*error), "{bytes:02x?}");
    }
    assert!(ChallengeAnswer::decode(b"\xa4\x03\x61k\x06\x01\x18\x27\x61a\x18\x28\x01").is_ok());
    let long = [
        b"\xa3\x03\x61k\x06\x01\x18\x27\x78\x41",
        "x".repeat(65).as_bytes(),
    ]
    .concat();
    assert_eq!(ChallengeAnswer::decode(&long), Err(ChallengeError::Cnonce));
}
