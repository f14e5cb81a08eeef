//! Fetching a token (SPEC.md §8.7): asked for without proof, challenged with an Echo, asked again with a signature, and
//! the answer verified. The rules of the exchange are the protocol's; here are its messages and their timing.

use keygate_protocol::ace::AceError;
use keygate_protocol::coap::{
    AwaitAnswer, AwaitChallenge, Code, ContentFormat, Failure, Progress, Received, Reply, Resend,
    TokenRefused, TokenTrust, TokenWanted, Trust,
};
use keygate_protocol::crypto::{PublicKey, SoftwareSigner};
use keygate_protocol::ident::Id;

use super::exchange::{Exchange, Heard, NoAnswer};
use super::message::{self, MessageError, Request, Response};
use crate::clock::Micros;
use crate::session::Wire;

/// The unsigned request and what [`RETRIES_MAX`](keygate_protocol::coap::RETRIES_MAX) allows.
const MESSAGES_MAX: usize = 3;

/// Random bytes that a fetch needs: a first message id, and a token and a spread for every message.
pub const ENTROPY_LEN: usize = 2 + MESSAGES_MAX * (8 + 2);

/// What is wanted, from whom. Outlives the [`Fetch`].
#[derive(Debug)]
pub struct Order<'a> {
    wanted: TokenWanted<'a>,
    payload: Vec<u8>,
    pinned: [PublicKey; 1],
}

/// A token that is what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted {
    /// Its length, bytes.
    pub token_len: u64,
    /// How long it is good for, s.
    pub expires_in_s: u64,
}

/// What to do after a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Step {
    /// Send this first.
    pub acknowledge: Option<[u8; 4]>,
    /// Send [`Fetch::datagram`].
    pub send: bool,
    /// Over.
    pub granted: Option<Granted>,
}

/// Why no token was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The ids break the rules of ids, or the request does not fit.
    #[error("the request cannot be made: {0}")]
    Request(String),
    /// A message of ours does not fit a datagram.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The broker is silent.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The broker knows nothing of the request.
    #[error("answered with a reset")]
    Reset,
    /// Refused, or not answered as it should be.
    #[error("{0}")]
    Exchange(Failure),
    /// The answer is not the token that was asked for.
    #[error("{0}")]
    Token(TokenRefused),
    /// The system had no randomness.
    #[error("the system's random source failed")]
    Entropy,
    /// The system could not send or receive.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl FetchError {
    /// What the operator of the run can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Some("nothing listens there: does the broker serve CoAP? say where with --coap")
            }
            Self::NoAnswer(_) => {
                Some("does the broker serve CoAP at that address? say where with --coap")
            }
            Self::Exchange(Failure::Refused(refused)) if refused.code == Code::UNAUTHORIZED => {
                Some(
                    "gateways not enrolled, or with another seed? `device-sim enrol …` with the same options, piped into \
                 `keygate device import -`",
                )
            }
            Self::Exchange(Failure::KeyNotPinned | Failure::Answer(_)) => {
                Some("another broker than expected: check --broker-id and --identity-key")
            }
            Self::Token(TokenRefused::Answer(AceError::Cbor(_))) => {
                Some("the answer is no ACE map: a bug, please report")
            }
            _ => None,
        }
    }
}

impl<'a> Order<'a> {
    /// A token for `id` and the key `holder` at a broker that signs its answers with `identity_key`.
    ///
    /// # Errors
    /// When an id breaks the rules of ids.
    pub fn new(
        id: &'a str,
        broker_id: &'a str,
        identity_key: PublicKey,
        holder: PublicKey,
    ) -> Result<Self, FetchError> {
        let cannot = |error: &dyn std::fmt::Display| FetchError::Request(error.to_string());
        let wanted = TokenWanted {
            broker_id: Id::new(broker_id).map_err(|error| cannot(&error))?,
            audience: None,
            device: Id::new(id).map_err(|error| cannot(&error))?,
            holder,
            scope: None,
        };
        let mut payload = Vec::new();
        wanted
            .encode_request(&mut Wire(&mut payload))
            .map_err(|error| cannot(&error))?;
        Ok(Self {
            wanted,
            payload,
            pinned: [identity_key],
        })
    }
}

/// A token on its way. Send [`datagram`](Self::datagram), hand in every datagram that comes, call
/// [`tick`](Self::tick) at the [`deadline`](Self::deadline), and do what each [`Step`] says.
#[derive(Debug)]
pub struct Fetch<'a> {
    order: &'a Order<'a>,
    signer: SoftwareSigner,
    entropy: [u8; ENTROPY_LEN],
    sent: usize,
    retransmitted: u64,
    exchange: Exchange,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    AwaitEcho(AwaitChallenge<'a>),
    AwaitToken(AwaitAnswer<'a>),
    Over,
}

impl<'a> Fetch<'a> {
    /// Begins: send [`datagram`](Self::datagram).
    ///
    /// # Errors
    /// When the request does not fit a datagram.
    pub fn start(
        order: &'a Order<'a>,
        signer: SoftwareSigner,
        entropy: [u8; ENTROPY_LEN],
        now: Micros,
    ) -> Result<Self, FetchError> {
        let trust = Trust::Signed(&order.pinned);
        let exchange = order
            .wanted
            .exchange(&order.payload, trust)
            .map_err(|error| FetchError::Request(error.to_string()))?;
        let state = State::AwaitEcho(exchange.start());
        let exchange = ask(&entropy, 0, None, &[], now)?;
        Ok(Self {
            order,
            signer,
            entropy,
            sent: 1,
            retransmitted: 0,
            exchange,
            state,
        })
    }

    /// What to send.
    #[must_use]
    pub fn datagram(&self) -> &[u8] {
        self.exchange.datagram()
    }

    /// When to call [`tick`](Self::tick).
    #[must_use]
    pub fn deadline(&self) -> Micros {
        self.exchange.deadline()
    }

    /// How often something was sent again because no answer came in time.
    #[must_use]
    pub fn retransmitted(&self) -> u64 {
        self.retransmitted + u64::from(self.exchange.retransmitted())
    }

    /// A datagram came.
    ///
    /// # Errors
    /// Ends the fetch.
    pub fn receive(&mut self, datagram: &[u8], now: Micros) -> Result<Step, FetchError> {
        match self.exchange.receive(datagram, now) {
            Heard::Nothing => Ok(Step::default()),
            Heard::Reset => Err(FetchError::Reset),
            Heard::Answer {
                response,
                acknowledge,
            } => {
                let step = self.answered(&response, now)?;
                Ok(Step {
                    acknowledge,
                    ..step
                })
            }
        }
    }

    /// Time passed.
    ///
    /// # Errors
    /// When the broker was asked often enough.
    pub fn tick(&mut self, now: Micros) -> Result<Step, FetchError> {
        Ok(Step {
            send: self.exchange.tick(now)?,
            ..Step::default()
        })
    }

    fn answered(&mut self, response: &Response, now: Micros) -> Result<Step, FetchError> {
        let received = Received {
            code: Code(response.code),
            echo: response.echo.as_deref(),
            content_format: response.content_format.map(ContentFormat),
            max_age_s: response.max_age_s,
            payload: &response.payload,
        };
        let mut body = Vec::new();
        let out = &mut Wire(&mut body);
        let progress = match std::mem::replace(&mut self.state, State::Over) {
            State::AwaitEcho(state) => Progress::Resend(
                state
                    .receive(&received, &mut self.signer, out)
                    .map_err(FetchError::Exchange)?,
            ),
            State::AwaitToken(state) => state
                .receive(&received, &mut self.signer, out)
                .map_err(FetchError::Exchange)?,
            State::Over => return Ok(Step::default()),
        };
        match progress {
            Progress::Resend(Resend { next, echo }) => {
                self.retransmitted += u64::from(self.exchange.retransmitted());
                self.exchange = ask(&self.entropy, self.sent, Some(echo.as_bytes()), &body, now)?;
                self.sent += 1;
                self.state = State::AwaitToken(next);
                Ok(Step {
                    send: true,
                    ..Step::default()
                })
            }
            Progress::Done(reply) => Ok(Step {
                granted: Some(self.accept(&reply)?),
                ..Step::default()
            }),
        }
    }

    fn accept(&self, reply: &Reply<'_>) -> Result<Granted, FetchError> {
        let granted = self
            .order
            .wanted
            .accept(reply, TokenTrust::SignedAnswer)
            .map_err(FetchError::Token)?;
        let token_len = u64::try_from(granted.token.len()).unwrap_or(u64::MAX);
        Ok(Granted {
            token_len,
            expires_in_s: granted.expires_in_s,
        })
    }
}

/// The `number`th message of a fetch.
fn ask(
    entropy: &[u8; ENTROPY_LEN],
    number: usize,
    echo: Option<&[u8]>,
    payload: &[u8],
    now: Micros,
) -> Result<Exchange, FetchError> {
    let at = |from: usize| {
        entropy
            .get(from..from + 2)
            .and_then(|pair| pair.try_into().ok())
            .map_or(0, u16::from_be_bytes)
    };
    let mine = 2 + number * 10;
    let mut token = [0; 8];
    if let Some(bytes) = entropy.get(mine..mine + 8) {
        token.copy_from_slice(bytes);
    }
    let message_id = at(0).wrapping_add(u16::try_from(number).unwrap_or(u16::MAX));
    let datagram = message::encode(&Request {
        message_id,
        token,
        path: &["token"],
        content_format: ContentFormat::COSE_SIGN1.0,
        accept: Some(ContentFormat::COSE_SIGN1.0),
        echo,
        payload,
    })?;
    Ok(Exchange::start(
        datagram,
        message_id,
        token,
        at(mine + 8),
        now,
    ))
}
