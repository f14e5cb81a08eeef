//! Byte tables: every rule of the format, and every option.
use super::*;

/// Header of a confirmable GET, id 0x1234, no token.
const GET: [u8; 4] = [0x40, 0x01, 0x12, 0x34];

fn with(bytes: &[u8]) -> Vec<u8> {
    [&GET, bytes].concat()
}

fn decode(datagram: &[u8]) -> Result<Request, FormatError> {
    Request::decode(Header::decode(datagram)?, datagram)
}

#[test]
fn each_format_rule_has_its_error() {
    let many = [&GET[..], &[0xb0], &[0; OPTIONS_MAX]].concat();
    for (datagram, error) in [
        (vec![], FormatError::Short),
        (vec![0x40, 0x01, 0x12], FormatError::Short),
        (vec![0x00, 0x01, 0x12, 0x34], FormatError::Version),
        (vec![0x80, 0x01, 0x12, 0x34], FormatError::Version),
        (vec![0xc0, 0x01, 0x12, 0x34], FormatError::Version),
        (vec![0x41, 0x01, 0x12, 0x34], FormatError::TokenLength),
        (
            [&[0x49, 0x01, 0x12, 0x34][..], &[7; 9]].concat(),
            FormatError::TokenLength,
        ),
        (
            [&[0x4f, 0x01, 0x12, 0x34][..], &[7; 15]].concat(),
            FormatError::TokenLength,
        ),
        (
            vec![0x40, 0x00, 0x12, 0x34, 0xff],
            FormatError::EmptyWithContent,
        ),
        (
            vec![0x41, 0x00, 0x12, 0x34, 0x01],
            FormatError::EmptyWithContent,
        ),
        (
            vec![0x40, 0x20, 0x12, 0x34],
            FormatError::ReservedClass(0x20),
        ),
        (
            vec![0x40, 0xc0, 0x12, 0x34],
            FormatError::ReservedClass(0xc0),
        ),
        (
            vec![0x40, 0xff, 0x12, 0x34],
            FormatError::ReservedClass(0xff),
        ),
        (with(&[0xff]), FormatError::PayloadEmpty),
        (with(&[0xb1, b'x', 0xff]), FormatError::PayloadEmpty),
        (with(&[0xf1, b'x']), FormatError::OptionHeader),
        (with(&[0x1f, b'x']), FormatError::OptionHeader),
        (with(&[0xd0]), FormatError::OptionHeader),
        (with(&[0xe0, 0x00]), FormatError::OptionHeader),
        (with(&[0x0d]), FormatError::OptionHeader),
        (with(&[0x0e, 0x00]), FormatError::OptionHeader),
        (with(&[0xe0, 0xff, 0xff]), FormatError::OptionHeader),
        (with(&[0xe0, 0xfe, 0xf2, 0x10]), FormatError::OptionHeader),
        (with(&[0xb2, b'x']), FormatError::OptionValue),
        (with(&[0xbe, 0xff, 0xff]), FormatError::OptionValue),
        (many, FormatError::OptionCount),
    ] {
        assert_eq!(decode(&datagram), Err(error), "{datagram:02x?}");
    }
}

#[test]
fn reset_answers_confirmable_messages_of_our_version_only() {
    let reset_of = [0x70, 0x00, 0x12, 0x34];
    assert_eq!(reset(&[0x40, 0x00, 0x12, 0x34]), Some(reset_of.to_vec()));
    assert_eq!(reset(&[0x4f, 0xff, 0x12, 0x34, 9]), Some(reset_of.to_vec()));
    for first in [0x50, 0x60, 0x70, 0x00, 0x80, 0xc0] {
        assert_eq!(reset(&[first, 0x01, 0x12, 0x34]), None, "{first:#x}");
    }
    assert_eq!(reset(&[0x40, 0x01, 0x12]), None);
}

#[test]
fn request_of_the_vector_is_read() {
    let datagram = [
        0x44, 0x02, 0x7d, 0x34, 1, 2, 3, 4, 0xb5, b't', b'o', b'k', b'e', b'n', 0x11, 0x13, 0xff,
        0xa1, 0x18, 0x18, 0x64, 0x64, 0x65, 0x76, 0x31,
    ];
    let request = decode(&datagram).unwrap();
    assert_eq!(request.header.kind, Kind::Confirmable);
    assert_eq!(request.header.code, 2);
    assert_eq!(request.header.message_id, 0x7d34);
    assert_eq!(request.header.token(), [1, 2, 3, 4]);
    assert_eq!(request.path, [b"token".to_vec()]);
    assert_eq!(request.content_format, Some(format::ACE_CBOR));
    assert_eq!(request.echo, None);
    assert_eq!(request.payload, datagram[17..]);
    assert_eq!(request.bad_option, None);
}

#[test]
fn every_understood_option_is_read() {
    let datagram = with(&[
        0x31, b'h', // Uri-Host
        0x42, 0x16, 0x33, // Uri-Port
        0x41, b'a', 0x00, // Uri-Path "a", ""
        0x12, 0x00, 0x12, // Content-Format 18, with a leading zero
        0x31, b'q', // Uri-Query
        0x21, 0x13, // Accept 19
        0x61, 0x02, // Block2 0/0/64
        0x41, 0x1e, // Block1 1/1/1024
        0xdc, 0xd4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, // Echo, 252 = 27 + 13 + 212
        0xff, b'p',
    ]);
    let request = decode(&datagram).unwrap();
    assert_eq!(request.bad_option, None);
    assert_eq!(request.path, [b"a".to_vec(), b"".to_vec()]);
    assert_eq!(request.content_format, Some(18));
    assert_eq!(request.query, [b"q".to_vec()]);
    assert_eq!(request.accept, Some(19));
    let block = |number, more, size_exponent| {
        Some(Block {
            number,
            more,
            size_exponent,
        })
    };
    assert_eq!(request.block2, block(0, false, 2));
    assert_eq!(request.block1, block(1, true, 6));
    assert_eq!(request.block1.unwrap().size(), 1024);
    assert_eq!(request.echo, Some((1..=12).collect()));
    assert_eq!(request.payload, b"p");
    assert!(!request.wants_proxy);
}

#[test]
fn critical_options_are_refused_when_unknown_misshapen_or_repeated() {
    for (options, number) in [
        (&[0x10][..], 1),                 // If-Match
        (&[0x50], 5),                     // If-None-Match
        (&[0x90], 9),                     // OSCORE
        (&[0xd0, 0x08], 21),              // EDHOC
        (&[0xe0, 0xff - 1, 0xf2], 65535), // the last one
        (&[0x30], 3),                     // Uri-Host, empty
        (&[0x31, b'a', 0x01, b'b'], 3),   // Uri-Host twice
        (&[0x73, 0, 0, 0], 7),            // Uri-Port of 3 bytes
        (&[0xd3, 0x04, 0, 0, 0], 17),     // Accept of 3 bytes
        (&[0xd0, 0x04, 0x00], 17),        // Accept twice
        (&[0xd4, 0x0e, 0, 0, 0, 0], 27),  // Block1 of 4 bytes
        (&[0xd4, 0x0a, 0, 0, 0, 0], 23),  // Block2 of 4 bytes
        (&[0x10, 0x40], 1),               // two bad ones: the first is named
    ] {
        assert_eq!(decode(&with(options)).unwrap().bad_option, Some(number));
    }
}

#[test]
fn elective_options_are_ignored_when_unknown_misshapen_or_repeated() {
    for options in [
        &[0x40][..],               // ETag
        &[0x60],                   // Observe
        &[0xc3, 0, 0, 18],         // Content-Format of 3 bytes
        &[0xd0, 0x2f],             // Size1
        &[0xd0, 0xef],             // Echo, empty
        &[0xe1, 0x00, 0x17, 0x01], // Request-Tag
        &[0xe0, 0xfe, 0xf1],       // 65534
    ] {
        let request = decode(&with(options)).unwrap();
        let plain = decode(&GET).unwrap();
        assert_eq!(request, plain, "{options:02x?}");
    }
    let long_echo = [&[0xdd, 0xef, 41 - 13][..], &[0; 41]].concat();
    assert_eq!(decode(&with(&long_echo)).unwrap().echo, None);
    // The first of two counts.
    let twice = decode(&with(&[0xc1, 18, 0x01, 19])).unwrap();
    assert_eq!((twice.content_format, twice.bad_option), (Some(18), None));
}

#[test]
fn reply_to_a_confirmable_request_is_piggybacked() {
    let header = Header::decode(&[0x44, 0x02, 0x7d, 0x34, 1, 2, 3, 4]).unwrap();
    let mut reply = Reply::code(AnswerCode::Unauthorized);
    reply.echo = Some([
        0x00, 0x00, 0x03, 0xe8, 0x8c, 0x71, 0x93, 0x00, 0xaa, 0x59, 0x1f, 0x9a,
    ]);
    // The answer of the vector `coap_echo`.
    assert_eq!(
        reply.encode(&header),
        [
            0x64, 0x81, 0x7d, 0x34, 1, 2, 3, 4, 0xdc, 0xef, 0x00, 0x00, 0x03, 0xe8, 0x8c, 0x71,
            0x93, 0x00, 0xaa, 0x59, 0x1f, 0x9a
        ]
    );
}

#[test]
fn reply_to_a_non_confirmable_request_is_non_confirmable() {
    let header = Header::decode(&[0x51, 0x01, 0x12, 0x34, 9]).unwrap();
    let reply = Reply::body(AnswerCode::Content, format::CBOR, vec![0xa0]).max_age(0);
    assert_eq!(
        reply.encode(&header),
        [0x51, 0x45, 0x12, 0x34, 9, 0xc1, 60, 0x20, 0xff, 0xa0]
    );
}

#[test]
fn too_large_names_the_size() {
    let header = Header::decode(&GET).unwrap();
    assert_eq!(
        Reply::code(AnswerCode::TooLarge).encode(&header),
        [0x60, 0x8d, 0x12, 0x34, 0xd2, 60 - 13, 0x04, 0x00]
    );
}

#[test]
fn reply_that_would_not_fit_is_an_internal_error() {
    let header = Header::decode(&GET).unwrap();
    let reply = Reply::body(AnswerCode::Content, format::CBOR, vec![0; DATAGRAM_MAX]);
    assert_eq!(reply.encode(&header), [0x60, 0xa0, 0x12, 0x34]);
}

proptest::proptest! {
    #[test]
    fn walk_and_codec_agree(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
        // What our walk accepts, coap-lite must read to the last byte, and write again just so.
        let Ok(header) = Header::decode(&bytes) else { return Ok(()) };
        if !header.is_request() || check_body(&bytes, HEADER_LEN + header.token().len()).is_err() {
            return Ok(());
        }
        let packet = Packet::from_bytes(&bytes).unwrap();
        let again = packet.to_bytes_unlimited().unwrap();
        let twice = Packet::from_bytes(&again).unwrap();
        proptest::prop_assert_eq!(packet, twice);
    }
}
