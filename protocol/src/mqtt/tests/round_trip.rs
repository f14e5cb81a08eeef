//! Random valid packets come back as they went.
use super::build::parts;
use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_encoded_decodes_to_itself_and_encodes_the_same(parts in parts()) {
        let (version, sender) = (parts.version, parts.sender);
        parts.with_packet(|sent| {
            let bytes = encoded(&sent, version);
            let received = read(&bytes, sender, version);
            prop_assert_eq!(received, Ok(sent), "{:02X?}", &bytes);
            prop_assert_eq!(encoded(&received.unwrap(), version), bytes);
            Ok(())
        })?;
    }

    #[test]
    fn no_part_of_a_packet_is_a_packet_or_an_error(parts in parts()) {
        let bytes = parts.with_packet(|sent| encoded(&sent, parts.version));
        let size = u32::try_from(bytes.len()).unwrap();
        for len in 0..bytes.len() {
            prop_assert_eq!(frame(&bytes[..len], size), Ok(None));
        }
        prop_assert_eq!(frame(&bytes, size - 1), Err(DecodeError::PacketTooLarge));
        let followed = [&bytes[..], &bytes].concat();
        let first = frame(&followed, size).unwrap().unwrap();
        prop_assert_eq!(first.raw(), bytes);
    }
}
