//! One confirmable request until its answer: RFC 7252 §4.2 (retransmission) and §5.2 (piggybacked and separate answers).

use super::message::{self, Kind, Response};
use crate::clock::Micros;

/// ACK_TIMEOUT, RFC 7252 §4.8.
const ACK_TIMEOUT_US: u64 = 2_000_000;
/// ACK_TIMEOUT × (ACK_RANDOM_FACTOR − 1): the first wait is spread over this, so that a fleet does not repeat in step.
const ACK_SPREAD_US: u64 = 1_000_000;
/// MAX_RETRANSMIT.
const RETRANSMIT_MAX: u8 = 4;
/// How long a separate answer may take after the empty acknowledgement: as long as all retransmissions would.
const SEPARATE_US: u64 = 60_000_000;

/// A request under way. Hand it every datagram from the server and call [`tick`](Self::tick) at its
/// [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Exchange {
    datagram: Vec<u8>,
    message_id: u16,
    token: [u8; 8],
    next: Micros,
    wait_us: u64,
    retransmitted: u8,
    acknowledged: bool,
}

/// What a datagram means for an exchange.
#[derive(Debug, Eq, PartialEq)]
pub enum Heard {
    /// Not for this exchange, or not new.
    Nothing,
    /// The answer; if it was confirmable, `acknowledge` goes back.
    Answer {
        /// What came.
        response: Response,
        /// An empty acknowledgement to send.
        acknowledge: Option<[u8; 4]>,
    },
    /// The server knows nothing of our message.
    Reset,
}

/// No answer came, however often the request was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no answer after {} tries", RETRANSMIT_MAX + 1)]
pub struct NoAnswer;

impl Exchange {
    /// Starts an exchange with a datagram that the caller sends now. `spread` in `0..=u16::MAX` is the caller's
    /// randomness for the first wait.
    #[must_use]
    pub fn start(
        datagram: Vec<u8>,
        message_id: u16,
        token: [u8; 8],
        spread: u16,
        now: Micros,
    ) -> Self {
        let wait_us = ACK_TIMEOUT_US + ACK_SPREAD_US * u64::from(spread) / u64::from(u16::MAX);
        Self {
            datagram,
            message_id,
            token,
            next: now.plus(wait_us),
            wait_us,
            retransmitted: 0,
            acknowledged: false,
        }
    }

    /// What to send.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// How often it was sent again.
    #[must_use]
    pub const fn retransmitted(&self) -> u8 {
        self.retransmitted
    }

    /// When to call [`tick`](Self::tick).
    #[must_use]
    pub const fn deadline(&self) -> Micros {
        self.next
    }

    /// A datagram came.
    pub fn receive(&mut self, datagram: &[u8], now: Micros) -> Heard {
        let Ok(response) = message::decode(datagram) else {
            return Heard::Nothing;
        };
        let ours = response.message_id == self.message_id;
        match response.kind {
            Kind::Reset if ours => Heard::Reset,
            Kind::Reset => Heard::Nothing,
            Kind::Acknowledgement if !ours => Heard::Nothing,
            Kind::Acknowledgement if response.code == 0 => {
                // The answer comes separately; nothing is sent again meanwhile.
                self.acknowledged = true;
                self.next = now.plus(SEPARATE_US);
                Heard::Nothing
            }
            _ if response.token != self.token || response.code < 0x40 => Heard::Nothing,
            Kind::Confirmable => {
                let acknowledge = Some(message::acknowledge(response.message_id));
                Heard::Answer {
                    response,
                    acknowledge,
                }
            }
            Kind::Acknowledgement | Kind::NonConfirmable => Heard::Answer {
                response,
                acknowledge: None,
            },
        }
    }

    /// The deadline passed: `true` says that [`datagram`](Self::datagram) is to be sent again.
    ///
    /// # Errors
    /// When it was sent often enough.
    pub fn tick(&mut self, now: Micros) -> Result<bool, NoAnswer> {
        if now < self.next {
            return Ok(false);
        }
        if self.acknowledged || self.retransmitted == RETRANSMIT_MAX {
            return Err(NoAnswer);
        }
        self.retransmitted += 1;
        self.wait_us *= 2;
        self.next = now.plus(self.wait_us);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [u8; 8] = *b"abcdefgh";

    fn exchange() -> Exchange {
        Exchange::start(vec![1], 0x1234, TOKEN, 0, Micros(0))
    }

    fn answer(first: u8, message_id: u16) -> Vec<u8> {
        let mut datagram = vec![first | 8, 0x45];
        datagram.extend(message_id.to_be_bytes());
        datagram.extend(TOKEN);
        datagram
    }

    #[test]
    fn a_piggybacked_answer_needs_no_acknowledgement() {
        let Heard::Answer {
            response,
            acknowledge,
        } = exchange().receive(&answer(0x60, 0x1234), Micros(9))
        else {
            panic!("no answer")
        };
        assert_eq!((response.code, acknowledge), (0x45, None));
    }

    #[test]
    fn a_separate_answer_is_acknowledged_under_its_own_id() {
        let mut exchange = exchange();
        assert_eq!(
            exchange.receive(&[0x60, 0, 0x12, 0x34], Micros(9)),
            Heard::Nothing
        );
        assert_eq!(exchange.tick(Micros(10_000_000)), Ok(false));
        let Heard::Answer { acknowledge, .. } =
            exchange.receive(&answer(0x40, 0x0777), Micros(20_000_000))
        else {
            panic!("no answer")
        };
        assert_eq!(acknowledge, Some([0x60, 0, 0x07, 0x77]));
    }

    #[test]
    fn strangers_are_not_heard() {
        let mut exchange = exchange();
        let mut other_token = answer(0x60, 0x1234);
        other_token[4] ^= 1;
        for datagram in [
            answer(0x60, 0x1235),
            other_token,
            vec![0x70, 0, 0x12, 0x35],
            vec![0xff; 20],
            vec![],
        ] {
            assert_eq!(
                exchange.receive(&datagram, Micros(1)),
                Heard::Nothing,
                "{datagram:02x?}"
            );
        }
        assert_eq!(
            exchange.receive(&[0x70, 0, 0x12, 0x34], Micros(1)),
            Heard::Reset
        );
    }

    #[test]
    fn it_repeats_four_times_at_doubled_distances_and_gives_up() {
        let mut exchange = exchange();
        let mut at = Vec::new();
        let end = loop {
            let now = exchange.deadline();
            at.push(now.0 / 1_000_000);
            assert_eq!(exchange.tick(Micros(now.0 - 1)), Ok(false));
            if let Err(end) = exchange.tick(now) {
                break end;
            }
        };
        assert_eq!((at, end), (vec![2, 6, 14, 30, 62], NoAnswer));
        assert_eq!(exchange.retransmitted(), 4);
    }
}
