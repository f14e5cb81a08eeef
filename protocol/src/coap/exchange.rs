//! The device's half of a signed request, as a machine without I/O.

use core::fmt;

use super::{
    AnswerContext, Code, ContentFormat, Echo, Path, RequestContext, RequestHash, UntrustedAnswer,
    sign_request,
};
use crate::ace::{ErrorAnswer, ErrorCode};
use crate::cose::{CoseError, SignError};
use crate::crypto::{PublicKey, Signer};
use crate::ident::Id;
use crate::sink::Sink;

/// How often a request is sent again for a 4.01 with Echo: once to be signed at all, once more because the Echo grew
/// old or the address changed on the way. A broker that still asks is not one that works (SPEC.md §8.4).
pub const RETRIES_MAX: u8 = 2;

/// One signed request and what it takes to get an answer. Message ids, tokens, retransmission and deadlines are the
/// CoAP layer's; give up at any point by dropping the value.
///
/// 1. [`start`](Self::start), and send the request without Echo and without payload.
/// 2. Feed the answer to [`AwaitChallenge::receive`]; send what it wrote, with the [`Echo`] that it names, as a new
///    message to the same address.
/// 3. Feed the answer to [`AwaitAnswer::receive`], which ends the exchange or asks for one more round.
///
/// ```
/// use keygate_protocol::coap::{Code, ContentFormat, Exchange, Path, Progress, Received, Trust, UntrustedRequest};
/// use keygate_protocol::crypto::SoftwareSigner;
/// use keygate_protocol::ident::Id;
///
/// let mut signer = SoftwareSigner::from_seed(&[7; 32]);
/// let exchange = Exchange {
///     broker_id: Id::new("kg-7f3a9c")?,
///     code: Code::POST,
///     path: Path::new(["token"])?,
///     payload: b"\xa1\x18\x18\x64dev1",
///     trust: Trust::Content,
/// };
/// let waiting = exchange.start();
///
/// // … the unsigned request is answered 4.01 with Echo:
/// let echo = [0x71, 0x40, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// let answer = Received { echo: Some(&echo), ..Received::empty(Code::UNAUTHORIZED) };
/// let mut body = heapless::Vec::<u8, 1024>::new();
/// let resend = waiting.receive(&answer, &mut signer, &mut body)?;
/// assert_eq!(resend.echo.as_bytes(), echo);
/// assert!(UntrustedRequest::decode(&body).is_ok());
///
/// // … and the signed one 2.01:
/// let content_format = Some(ContentFormat::ACE);
/// let answer = Received { content_format, payload: b"\xa0", ..Received::empty(Code::CREATED) };
/// let Progress::Done(reply) = resend.next.receive(&answer, &mut signer, &mut body)? else {
///     panic!("a 2.01 ends the exchange");
/// };
/// assert_eq!(reply.payload, b"\xa0");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The broker that the device is configured for. A request signed for it is worth nothing elsewhere.
    pub broker_id: Id<'a>,
    /// The method.
    pub code: Code,
    /// The resource.
    pub path: Path<'a>,
    /// What is asked: signed, not encrypted.
    pub payload: &'a [u8],
    /// Why the answer may be believed.
    pub trust: Trust<'a>,
}

/// Why an answer may be believed.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// It need not be: its content proves itself, as a token does that a known key signed. The caller checks that.
    Content,
    /// It is signed by one of these pinned identity keys (the current and the next one) for this very request.
    Signed(&'a [PublicKey]),
}

impl<'a> Exchange<'a> {
    /// Begins. Nothing is signed before the broker has sent an Echo.
    #[must_use]
    pub fn start(self) -> AwaitChallenge<'a> {
        AwaitChallenge { exchange: self }
    }

    fn sign(
        self,
        retries_left: u8,
        answer: &Received<'_>,
        signer: &mut (impl Signer + ?Sized),
        out: &mut (impl Sink + ?Sized),
    ) -> Result<AwaitAnswer<'a>, Failure> {
        let retries_left = retries_left
            .checked_sub(1)
            .ok_or(Failure::StillChallenged)?;
        let context = RequestContext {
            broker_id: self.broker_id,
            echo: answer.echo()?,
            code: self.code,
            path: &self.path,
        };
        let hash = sign_request(&context, self.payload, signer, out).map_err(Failure::Sign)?;
        Ok(AwaitAnswer {
            exchange: self,
            retries_left,
            hash,
        })
    }
}

/// An answer as the CoAP layer hands it in, matched to its request by token and address.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The response code.
    pub code: Code,
    /// The Echo option.
    pub echo: Option<&'a [u8]>,
    /// The Content-Format option.
    pub content_format: Option<ContentFormat>,
    /// The Max-Age option, in seconds.
    pub max_age_s: Option<u32>,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// An answer with this code and nothing else.
    #[must_use]
    pub fn empty(code: Code) -> Self {
        Self {
            code,
            echo: None,
            content_format: None,
            max_age_s: None,
            payload: &[],
        }
    }

    fn is_challenge(&self) -> bool {
        self.code == Code::UNAUTHORIZED && self.echo.is_some()
    }

    fn echo(&self) -> Result<Echo<'a>, Failure> {
        Echo::new(self.echo.unwrap_or_default()).map_err(|_| Failure::BadEcho)
    }

    fn refused(&self) -> Failure {
        let error = match self.content_format {
            Some(ContentFormat::ACE) => ErrorAnswer::decode(self.payload)
                .ok()
                .map(|answer| answer.error),
            _ => None,
        };
        Failure::Refused(Refused {
            code: self.code,
            error,
            max_age_s: self.max_age_s,
        })
    }
}

/// The unsigned request is on its way.
#[derive(Clone, Debug)]
pub struct AwaitChallenge<'a> {
    exchange: Exchange<'a>,
}

impl<'a> AwaitChallenge<'a> {
    /// Takes the answer to the unsigned request. Signs into `out` if it is a challenge, and fails otherwise: nothing
    /// else can be a good answer to a request that proved nothing.
    pub fn receive<'e>(
        self,
        answer: &Received<'e>,
        signer: &mut (impl Signer + ?Sized),
        out: &mut (impl Sink + ?Sized),
    ) -> Result<Resend<'a, 'e>, Failure> {
        if !answer.is_challenge() {
            return Err(if answer.code.is_success() {
                Failure::Unexpected(answer.code)
            } else {
                answer.refused()
            });
        }
        let echo = answer.echo()?;
        let next = self.exchange.sign(RETRIES_MAX, answer, signer, out)?;
        Ok(Resend { next, echo })
    }
}

/// Send the request again: with this Echo, and what was signed as its body (Content-Format 18).
#[derive(Clone, Debug)]
pub struct Resend<'a, 'e> {
    /// What waits for the answer.
    pub next: AwaitAnswer<'a>,
    /// The Echo option to send.
    pub echo: Echo<'e>,
}

/// The signed request is on its way.
#[derive(Clone, Debug)]
pub struct AwaitAnswer<'a> {
    exchange: Exchange<'a>,
    retries_left: u8,
    hash: RequestHash,
}

impl<'a> AwaitAnswer<'a> {
    /// The name of the request that is on its way.
    #[must_use]
    pub fn hash(&self) -> RequestHash {
        self.hash
    }

    /// Takes the answer to the signed request. If the broker wants a fresher Echo, signs again into `out`, which the
    /// caller has emptied.
    pub fn receive<'e>(
        self,
        answer: &Received<'e>,
        signer: &mut (impl Signer + ?Sized),
        out: &mut (impl Sink + ?Sized),
    ) -> Result<Progress<'a, 'e>, Failure> {
        if answer.is_challenge() {
            let echo = answer.echo()?;
            let next = self.exchange.sign(self.retries_left, answer, signer, out)?;
            return Ok(Progress::Resend(Resend { next, echo }));
        }
        if !answer.code.is_success() {
            return Err(answer.refused());
        }
        let (payload, signed) = match self.exchange.trust {
            Trust::Content => (answer.payload, false),
            Trust::Signed(keys) => (self.verified_payload(answer, keys)?, true),
        };
        Ok(Progress::Done(Reply {
            code: answer.code,
            payload,
            signed,
            request: self.hash,
        }))
    }

    fn verified_payload<'e>(
        &self,
        answer: &Received<'e>,
        keys: &[PublicKey],
    ) -> Result<&'e [u8], Failure> {
        if answer.content_format != Some(ContentFormat::COSE_SIGN1) {
            return Err(Failure::NotSigned);
        }
        let untrusted = UntrustedAnswer::decode(answer.payload).map_err(Failure::Answer)?;
        let key = keys
            .iter()
            .find(|key| key.key_id() == untrusted.key_id())
            .ok_or(Failure::KeyNotPinned)?;
        let context = AnswerContext {
            broker_id: self.exchange.broker_id,
            code: answer.code,
            request: self.hash,
        };
        untrusted.verify(key, &context).map_err(Failure::Answer)
    }
}

/// What came of an answer to a signed request.
#[derive(Clone, Debug)]
pub enum Progress<'a, 'e> {
    /// The broker wants a fresher Echo.
    Resend(Resend<'a, 'e>),
    /// The exchange is over.
    Done(Reply<'e>),
}

/// A success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply<'e> {
    /// The response code, a 2.xx.
    pub code: Code,
    /// What was answered; taken out of its signature, if it had one.
    pub payload: &'e [u8],
    /// Whether a pinned identity key vouches for the payload.
    pub signed: bool,
    /// The request that was answered: its `cti` is that of the token.
    pub request: RequestHash,
}

/// A refusal, or something that claims to be one: it is not signed. It makes a device back off and do nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The response code.
    pub code: Code,
    /// What the ACE error map says, if there is one.
    pub error: Option<ErrorCode>,
    /// How long the broker asks to wait.
    pub max_age_s: Option<u32>,
}

/// What a device does about a failure (SPEC.md §8.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BackOff {
    /// Ask again soon: the fault passes by itself.
    Fast,
    /// Tell somebody: asking again in the same way will not help.
    Report,
    /// Ask again, at long intervals: somebody has to act at the broker first.
    Slow,
    /// Wait as long as was said.
    Wait {
        /// For how long.
        seconds: u32,
    },
}

/// Why an exchange ended without an answer to believe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The signed answer is malformed or does not verify.
    Answer(CoseError),
    /// The Echo is empty or too long.
    BadEcho,
    /// The answer is signed by a key that the device does not pin.
    KeyNotPinned,
    /// The answer had to be signed and is not.
    NotSigned,
    /// Refused.
    Refused(Refused),
    /// The request could not be signed. Ours.
    Sign(SignError),
    /// A fresh Echo was asked for more than [`RETRIES_MAX`] times.
    StillChallenged,
    /// A success where only a challenge can come.
    Unexpected(Code),
}

impl Failure {
    /// What to do about it.
    #[must_use]
    pub fn back_off(&self) -> BackOff {
        match self {
            Self::Refused(refused) => refused.back_off(),
            // What does not verify may come from anybody; the next answer may be the broker's.
            Self::Answer(_) | Self::BadEcho | Self::KeyNotPinned | Self::NotSigned => BackOff::Slow,
            Self::StillChallenged | Self::Unexpected(_) => BackOff::Slow,
            Self::Sign(SignError::Signer) => BackOff::Fast,
            Self::Sign(_) => BackOff::Report,
        }
    }
}

impl Refused {
    /// What to do about it.
    #[must_use]
    pub fn back_off(&self) -> BackOff {
        /// The Max-Age of an answer without that option (RFC 7252 §5.10.5).
        const MAX_AGE_DEFAULT_S: u32 = 60;
        match self.code {
            Code::TOO_MANY_REQUESTS | Code::SERVICE_UNAVAILABLE => BackOff::Wait {
                seconds: self.max_age_s.unwrap_or(MAX_AGE_DEFAULT_S),
            },
            Code::UNAUTHORIZED => BackOff::Slow,
            code if code.class() == 5 => BackOff::Fast,
            _ => BackOff::Report,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer(error) => return error.fmt(f),
            Self::BadEcho => "the Echo is empty or too long",
            Self::KeyNotPinned => "the answer is signed by a key that is not pinned",
            Self::NotSigned => "the answer is not signed",
            Self::Refused(refused) => {
                write!(f, "refused with {}", refused.code)?;
                return refused.error.map_or(Ok(()), |error| write!(f, " {error}"));
            }
            Self::Sign(error) => return error.fmt(f),
            Self::StillChallenged => "the broker keeps asking for a fresh Echo",
            Self::Unexpected(code) => {
                return write!(f, "answered {code} to a request that proved nothing");
            }
        })
    }
}

impl core::error::Error for Failure {}
