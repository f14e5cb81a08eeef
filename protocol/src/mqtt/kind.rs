//! Packet types, and what the first byte of a packet must look like (MQTT 5 §2.1).
use super::{DecodeError, Sender};

/// The type of a control packet: the upper four bits of its first byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names of the packets, MQTT 5 §2.1.2")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// Flags of PUBREL, SUBSCRIBE and UNSUBSCRIBE: reserved, and not zero for historic reasons (MQTT 5 §2.1.3).
const FLAGS_RESERVED_2: u8 = 0b0010;

const PUBLISH_QOS: u8 = 0b0110;
const PUBLISH_DUP: u8 = 0b1000;

impl PacketType {
    /// Reads the type from the first byte of a packet and checks the flags beside it.
    pub fn of_first_byte(first: u8) -> Result<Self, DecodeError> {
        let packet = Self::of_number(first >> 4).ok_or(DecodeError::PacketTypeReserved)?;
        let flags = first & 0x0F;
        if packet == Self::Publish {
            return match flags & PUBLISH_QOS {
                PUBLISH_QOS => Err(DecodeError::PublishQos3),
                0 if flags & PUBLISH_DUP != 0 => Err(DecodeError::PublishDupQos0),
                _ => Ok(packet),
            };
        }
        if flags != packet.flags() {
            return Err(DecodeError::HeaderFlags);
        }
        Ok(packet)
    }

    fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The first byte of a packet of this type; PUBLISH adds its own flags.
    pub(super) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    fn flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => FLAGS_RESERVED_2,
            _ => 0,
        }
    }

    /// Whether packets of this type never have a body.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::Pingreq | Self::Pingresp)
    }

    /// Checks the direction in MQTT 5; 3.1.1 has one rule more, in [`DecodeError::DisconnectFromServer`].
    pub(super) fn check_sender(self, sender: Sender) -> Result<(), DecodeError> {
        match (self, sender) {
            (Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp, Sender::Client) => {
                Err(DecodeError::PacketNotFromClient)
            }
            (
                Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq,
                Sender::Server,
            ) => Err(DecodeError::PacketNotFromServer),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_of_the_type_pass() {
        for first in 0..=u8::MAX {
            let found = PacketType::of_first_byte(first);
            match (first >> 4, first & 0x0F) {
                (0, _) => assert_eq!(found, Err(DecodeError::PacketTypeReserved)),
                (3, 0x06 | 0x07 | 0x0E | 0x0F) => assert_eq!(found, Err(DecodeError::PublishQos3)),
                (3, 0x08 | 0x09) => assert_eq!(found, Err(DecodeError::PublishDupQos0)),
                (3, _) => assert_eq!(found, Ok(PacketType::Publish)),
                (6 | 8 | 10, 2) | (1 | 2 | 4 | 5 | 7 | 9 | 11..=15, 0) => {
                    assert_eq!(found.map(PacketType::first_byte), Ok(first));
                }
                _ => assert_eq!(found, Err(DecodeError::HeaderFlags)),
            }
        }
    }
}
