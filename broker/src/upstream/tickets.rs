//! One-use tickets: how a broker in this process knows that a session comes from the gate.
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use keygate_protocol::time::Millis;
use subtle::ConstantTimeEq as _;

use crate::limits::{Limits, Reached};
use crate::rng::Random;

/// Tickets that are out: each opens one session of one client id, once, within `relay_open_ms`.
///
/// The gate [`issue`](Self::issue)s one with the CONNECT that it writes, the other broker's login check
/// [`redeem`](Self::redeem)s it. So only the gate opens sessions there, though any program of the machine can reach its
/// port, and what such a program sees of one ticket is of no use to it.
pub struct Tickets {
    life_ms: u64,
    most: usize,
    reached: Arc<Reached>,
    out: Mutex<Out>,
}

struct Out {
    random: Box<dyn Random>,
    by_client: HashMap<Box<str>, Ticket>,
    /// In the order in which they end, redeemed or not.
    ends: VecDeque<(Millis, Box<str>)>,
}

struct Ticket {
    text: String,
    until: Millis,
}

impl Tickets {
    /// No tickets yet.
    #[must_use]
    pub fn new(limits: &Limits, reached: Arc<Reached>, random: Box<dyn Random>) -> Self {
        Self {
            life_ms: limits.relay_open_ms,
            most: limits.relay_tickets,
            reached,
            out: Mutex::new(Out {
                random,
                by_client: HashMap::new(),
                ends: VecDeque::new(),
            }),
        }
    }

    /// A ticket for this client id, 43 characters of base64url; an earlier one for it ends. None when `relay_tickets` are
    /// out.
    pub fn issue(&self, client_id: &str, now: Millis) -> Option<String> {
        let mut out = self.out();
        out.forget_ended(now);
        if out.ends.len() >= self.most {
            self.reached.relay_tickets.add();
            return None;
        }
        let secret: [u8; 32] = out.random.array();
        let text = Base64UrlUnpadded::encode_string(&secret);
        let until = now.plus(self.life_ms);
        let ticket = Ticket {
            text: text.clone(),
            until,
        };
        out.by_client.insert(client_id.into(), ticket);
        out.ends.push_back((until, client_id.into()));
        Some(text)
    }

    /// Whether this opens a session of this client id; it never does again. A wrong guess uses nothing up.
    pub fn redeem(&self, client_id: &str, given: &str, now: Millis) -> bool {
        let mut out = self.out();
        let is_good = out.by_client.get(client_id).is_some_and(|ticket| {
            now < ticket.until && bool::from(ticket.text.as_bytes().ct_eq(given.as_bytes()))
        });
        if is_good {
            out.by_client.remove(client_id);
        }
        is_good
    }

    /// Whether the ticket for this client id waits to be redeemed.
    #[must_use]
    pub fn is_out(&self, client_id: &str) -> bool {
        self.out().by_client.contains_key(client_id)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn forget_ended(&mut self, now: Millis) {
        while let Some((_, client_id)) = self.ends.pop_front_if(|(until, _)| *until <= now) {
            // A later one for the same client id lives on.
            if self
                .by_client
                .get(&client_id)
                .is_some_and(|ticket| ticket.until <= now)
            {
                self.by_client.remove(&client_id);
            }
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("out", &self.out().by_client.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRandom;

    const START: Millis = Millis(5);

    fn tickets(most: usize) -> (Tickets, Arc<Reached>) {
        let limits = Limits {
            relay_open_ms: 100,
            relay_tickets: most,
            ..Limits::default()
        };
        let reached = Arc::new(Reached::default());
        let random = Box::new(SeededRandom::new(1));
        let tickets = Tickets::new(&limits, Arc::clone(&reached), random);
        (tickets, reached)
    }

    #[test]
    fn a_ticket_is_for_one_client_id_once() {
        let (tickets, _) = tickets(10);
        let ticket = tickets.issue("dev-1", START).unwrap();
        assert_eq!(ticket.len(), 43);
        assert!(
            !tickets.redeem("dev-2", &ticket, START),
            "another client id"
        );
        assert!(!tickets.redeem("dev-1", "", START));
        assert!(!tickets.redeem("dev-1", &ticket[1..], START));
        assert!(
            tickets.redeem("dev-1", &ticket, START),
            "guesses used nothing up"
        );
        assert!(!tickets.redeem("dev-1", &ticket, START), "again");
    }

    #[test]
    fn a_later_ticket_ends_an_earlier_one() {
        let (tickets, _) = tickets(10);
        let first = tickets.issue("dev-1", START).unwrap();
        let second = tickets.issue("dev-1", START.plus(50)).unwrap();
        assert_ne!(first, second);
        assert!(!tickets.redeem("dev-1", &first, START.plus(50)));
        // The first one's end does not take the second with it.
        tickets.issue("dev-2", START.plus(110)).unwrap();
        assert!(tickets.redeem("dev-1", &second, START.plus(149)));
    }

    #[test]
    fn a_ticket_ends_by_itself() {
        let (tickets, _) = tickets(10);
        let ticket = tickets.issue("dev-1", START).unwrap();
        assert!(!tickets.redeem("dev-1", &ticket, START.plus(100)));
        tickets.issue("dev-2", START.plus(100)).unwrap();
        assert!(!tickets.is_out("dev-1"), "nothing is kept of it");
    }

    #[test]
    fn beyond_the_bound_nobody_gets_one_and_nobody_loses_one() {
        let (tickets, reached) = tickets(2);
        let first = tickets.issue("dev-1", START).unwrap();
        tickets.issue("dev-2", START).unwrap();
        assert_eq!(tickets.issue("dev-3", START), None);
        assert_eq!(reached.relay_tickets.get(), 1);
        assert!(tickets.redeem("dev-1", &first, START));
        assert_eq!(
            tickets.issue("dev-3", START.plus(99)),
            None,
            "issued, not open, is what counts"
        );
        assert!(tickets.issue("dev-3", START.plus(100)).is_some());
    }
}
