use super::*;
use crate::sink::{CapacityError, Counter, SliceSink};
use proptest::prelude::*;
use serde_cbor::Value;
use std::vec::Vec;

fn skip(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.finish()
}

#[test]
fn integers_round_trip_at_every_width() {
    for value in [
        0,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        0xffff_ffff,
        0x1_0000_0000,
        i64::MAX,
        -1,
        -24,
        -25,
        -256,
        -257,
        i64::MIN,
    ] {
        let mut out = heapless::Vec::<u8, 9>::new();
        Writer::new(&mut out).int(value).unwrap();
        assert_eq!(serde_cbor::from_slice::<i64>(&out).unwrap(), value);
        assert_eq!(Reader::new(&out).int(), Ok(value));
        assert_eq!(skip(&out), Ok(()));
    }
    let mut out = heapless::Vec::<u8, 9>::new();
    Writer::new(&mut out).uint(u64::MAX).unwrap();
    assert_eq!(Reader::new(&out).uint(), Ok(u64::MAX));
    assert_eq!(Reader::new(&out).int(), Err(CborError::IntegerRange));
    // -2^63 - 1, the first negative number that does not fit.
    assert_eq!(
        Reader::new(b"\x3b\x80\0\0\0\0\0\0\0").int(),
        Err(CborError::IntegerRange)
    );
}

#[test]
fn items_of_every_kind_are_read_back_by_serde_cbor() {
    let mut out = heapless::Vec::<u8, 64>::new();
    let mut writer = Writer::new(&mut out);
    writer.array(7).unwrap();
    writer.bytes(&[1, 2, 3]).unwrap();
    writer.text("ä").unwrap();
    writer.bool(true).unwrap();
    writer.bool(false).unwrap();
    writer.null().unwrap();
    writer.map(1).unwrap();
    writer.int(-2).unwrap();
    writer.bytes_head(2).unwrap();
    writer.raw(&[9, 9]).unwrap();
    writer.array(0).unwrap();
    let expected = Value::Array(std::vec![
        Value::Bytes([1, 2, 3].to_vec()),
        Value::Text("ä".into()),
        Value::Bool(true),
        Value::Bool(false),
        Value::Null,
        Value::Map([(Value::Integer(-2), Value::Bytes([9, 9].to_vec()))].into()),
        Value::Array(Vec::new()),
    ]);
    assert_eq!(serde_cbor::from_slice::<Value>(&out).unwrap(), expected);

    let mut reader = Reader::new(&out);
    assert_eq!(reader.array_of(7), Ok(()));
    assert_eq!(reader.bytes_of::<3>(), Ok(&[1, 2, 3]));
    assert_eq!(reader.text(), Ok("ä"));
    assert_eq!((reader.bool(), reader.bool()), (Ok(true), Ok(false)));
    assert_eq!((reader.null(), reader.null()), (Ok(true), Ok(false)));
    let mut map = reader.map().unwrap();
    assert_eq!(map.left(), 1);
    assert_eq!(map.next_label(&mut reader), Ok(Some(Label::Int(-2))));
    assert_eq!(reader.raw(), Ok(&[0x42, 9, 9][..]));
    assert_eq!(map.next_label(&mut reader), Ok(None));
    assert_eq!(reader.array(), Ok(0));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn a_full_sink_stops_the_writer() {
    let mut buffer = [0; 4];
    assert_eq!(
        Writer::new(&mut SliceSink::new(&mut buffer)).bytes(&[0; 4]),
        Err(CapacityError)
    );
    assert_eq!(
        Writer::new(&mut SliceSink::new(&mut buffer)).bytes(&[0; 3]),
        Ok(())
    );
    let mut counter = Counter::new();
    Writer::new(&mut counter).bytes(&[0; 300]).unwrap();
    assert_eq!(counter.total(), 303);
}

#[test]
fn each_rule_has_its_error() {
    let cases: &[(&[u8], CborError)] = &[
        (b"", CborError::EndOfInput),
        (b"\x18", CborError::EndOfInput),
        (b"\x43\x01\x02", CborError::EndOfInput),
        (b"\x82\x01", CborError::EndOfInput),
        (
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
            CborError::EndOfInput,
        ),
        (b"\x9b\x40\0\0\0\0\0\0\0", CborError::EndOfInput),
        (
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            CborError::EndOfInput,
        ),
        (b"\xa2\x01\x02\x03", CborError::EndOfInput),
        (b"\x18\x17", CborError::NotMinimal),
        (b"\x19\0\xff", CborError::NotMinimal),
        (b"\x1a\0\0\xff\xff", CborError::NotMinimal),
        (b"\x1b\0\0\0\0\xff\xff\xff\xff", CborError::NotMinimal),
        (b"\x38\x17", CborError::NotMinimal),
        (b"\x58\x01\0", CborError::NotMinimal),
        (b"\x78\x01a", CborError::NotMinimal),
        (b"\x98\x01\x01", CborError::NotMinimal),
        (b"\xb8\x01\x01\x01", CborError::NotMinimal),
        (b"\x5f\x41\x01\xff", CborError::IndefiniteLength),
        (b"\x7f\x61a\xff", CborError::IndefiniteLength),
        (b"\x9f\x01\xff", CborError::IndefiniteLength),
        (b"\xbf\x01\x01\xff", CborError::IndefiniteLength),
        (b"\x1c", CborError::ReservedHead),
        (b"\x5d", CborError::ReservedHead),
        (b"\xff", CborError::ReservedHead),
        (b"\xfc", CborError::ReservedHead),
        (b"\xf9\x3c\0", CborError::Float),
        (b"\xfa\0\0\0\0", CborError::Float),
        (b"\xfb\0\0\0\0\0\0\0\0", CborError::Float),
        (b"\xf7", CborError::SimpleValue),
        (b"\xf0", CborError::SimpleValue),
        (b"\xf8\xff", CborError::SimpleValue),
        (b"\xc1\x01", CborError::UnexpectedTag),
        (b"\x81\xd9\xd9\xf7\x01", CborError::UnexpectedTag),
        (b"\x62\xc3\x28", CborError::BadUtf8),
        (b"\xa2\x01\x01\x01\x01", CborError::DuplicateKey),
        (b"\xa2\x02\x01\x01\x01", CborError::UnsortedKeys),
        // RFC 7049's canonical order, shorter keys first: -1 before 100 (RFC 8949 §4.2.3).
        (b"\xa2\x20\x01\x18\x64\x01", CborError::UnsortedKeys),
        (b"\xa1\xf4\x01", CborError::UnexpectedType),
        (b"\xa1\x40\x01", CborError::UnexpectedType),
        (b"\x01\x01", CborError::TrailingBytes),
    ];
    for (bytes, error) in cases {
        assert_eq!(skip(bytes), Err(*error), "{bytes:02x?}");
    }
}

#[test]
fn deterministic_order_is_bytewise() {
    // 10, 100, -1, "z", "aa": the example of RFC 8949 §4.2.1 without its keys of other types.
    assert_eq!(
        skip(b"\xa5\x0a\x01\x18\x64\x01\x20\x01\x61z\x01\x62aa\x01"),
        Ok(())
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [std::vec![0x81; depth], std::vec![0x01]].concat();
    assert_eq!(skip(&nested(usize::from(DEPTH_MAX))), Ok(()));
    assert_eq!(
        skip(&nested(usize::from(DEPTH_MAX) + 1)),
        Err(CborError::TooDeep)
    );
    assert_eq!(skip(&nested(100_000)), Err(CborError::TooDeep));
    let maps = [b"\xa1\x01".repeat(9), std::vec![0x01]].concat();
    assert_eq!(skip(&maps), Err(CborError::TooDeep));
}

#[test]
fn typed_reads_refuse_other_types_and_counts() {
    assert_eq!(Reader::new(b"\x20").uint(), Err(CborError::UnexpectedType));
    assert_eq!(Reader::new(b"\x61a").int(), Err(CborError::UnexpectedType));
    assert_eq!(
        Reader::new(b"\x61a").bytes(),
        Err(CborError::UnexpectedType)
    );
    assert_eq!(Reader::new(b"\x41a").text(), Err(CborError::UnexpectedType));
    assert_eq!(Reader::new(b"\x01").bool(), Err(CborError::UnexpectedType));
    assert_eq!(
        Reader::new(b"\xc0\x01").uint(),
        Err(CborError::UnexpectedTag)
    );
    assert_eq!(
        Reader::new(b"\x82\x01\x02").array_of(3),
        Err(CborError::WrongCount)
    );
    assert_eq!(
        Reader::new(b"\x42\x01\x02").bytes_of::<3>(),
        Err(CborError::WrongCount)
    );
    assert_eq!(Reader::new(b"\xd2\x80").tag(18), Ok(true));
    assert_eq!(Reader::new(b"\x80").tag(18), Ok(false));
    assert_eq!(
        Reader::new(b"\xd1\x80").tag(18),
        Err(CborError::UnexpectedTag)
    );
    assert_eq!(
        Reader::new(b"\xd8\x12\x80").tag(18),
        Err(CborError::NotMinimal)
    );
}

proptest! {
    #[test]
    fn whatever_the_reader_takes_is_what_serde_cbor_reads(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(item) = reader.raw() {
            // serde_cbor writes shortest heads, and its map is sorted; only integers beyond i64 are apart.
            let value: Value = serde_cbor::from_slice(item).expect("strict CBOR is CBOR");
            prop_assert_eq!(serde_cbor::to_vec(&value).expect("a value can be written").len(), item.len());
            prop_assert_eq!(item.len() + reader.rest().len(), bytes.len());
        }
    }

    #[test]
    fn typed_reads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes);
        let _ = (reader.clone().int(), reader.clone().text(), reader.clone().bool(), reader.clone().null());
        let _ = (reader.clone().tag(61), reader.clone().array(), reader.clone().bytes());
        if let Ok(mut map) = reader.map() {
            while let Ok(Some(_)) = map.next_label(&mut reader) {
                if reader.skip().is_err() { break; }
            }
        }
    }
}
