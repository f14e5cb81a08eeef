//! What is served, and what each resource takes.
use super::message::{Request, format};

/// 0.01
const GET: u8 = 1;
/// 0.02
const POST: u8 = 2;

/// The resources (SPEC.md §8.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// `/.well-known/core`
    Links,
    /// `/challenge`
    Challenge,
    /// `/keys`
    Keys,
    /// `/token`
    Token,
}

impl Resource {
    /// The resource of this path. Segments are compared byte by byte: a trailing slash makes another path.
    #[must_use]
    pub fn at(path: &[Vec<u8>]) -> Option<Self> {
        let mut segments = path.iter().map(Vec::as_slice);
        let first = segments.next()?;
        let second = segments.next();
        if segments.next().is_some() {
            return None;
        }
        match (first, second) {
            (b".well-known", Some(b"core")) => Some(Self::Links),
            (b"challenge", None) => Some(Self::Challenge),
            (b"keys", None) => Some(Self::Keys),
            (b"token", None) => Some(Self::Token),
            _ => None,
        }
    }

    /// Whether this is its method; each has one.
    #[must_use]
    pub fn takes(self, method: u8) -> bool {
        match self {
            Self::Links | Self::Challenge | Self::Keys => method == GET,
            Self::Token => method == POST,
        }
    }

    /// Whether a query means something to it. Elsewhere a query is refused: no signature covers it.
    #[must_use]
    pub fn takes_query(self) -> bool {
        matches!(self, Self::Links)
    }

    /// The Content-Formats of its answers; the first is what it gives unasked.
    #[must_use]
    pub fn formats(self) -> &'static [u16] {
        match self {
            Self::Links => &[format::LINK_FORMAT],
            Self::Challenge => &[format::CBOR],
            Self::Keys => &[format::COSE_KEY_SET],
            Self::Token => &[format::ACE_CBOR, format::COSE_SIGN1],
        }
    }

    /// Whether it can answer as the request asks.
    #[must_use]
    pub fn satisfies(self, request: &Request) -> bool {
        request
            .accept
            .is_none_or(|format| self.formats().contains(&format))
    }
}
