//! CoAP codes and content formats by their numbers.

use core::fmt;

/// A method or response code as one byte, `c.dd` = class in the top three bits, detail below (RFC 7252 §3).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Code(pub u8);

impl Code {
    /// 0.01
    pub const GET: Self = Self(0x01);
    /// 0.02
    pub const POST: Self = Self(0x02);
    /// 2.01
    pub const CREATED: Self = Self(0x41);
    /// 2.04
    pub const CHANGED: Self = Self(0x44);
    /// 2.05
    pub const CONTENT: Self = Self(0x45);
    /// 4.00
    pub const BAD_REQUEST: Self = Self(0x80);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self(0x81);
    /// 4.29
    pub const TOO_MANY_REQUESTS: Self = Self(0x9d);
    /// 5.00
    pub const INTERNAL_SERVER_ERROR: Self = Self(0xa0);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Self = Self(0xa3);

    /// The digit before the point.
    #[must_use]
    pub fn class(self) -> u8 {
        self.0 >> 5
    }

    /// Whether this is a 2.xx.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 0x1f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({self})")
    }
}

/// A content format of RFC 7252 §12.3 and its registry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ContentFormat(pub u16);

impl ContentFormat {
    /// `application/cose; cose-type="cose-sign1"`: a signed request or answer.
    pub const COSE_SIGN1: Self = Self(18);
    /// `application/ace+cbor`: a token, or why there is none.
    pub const ACE: Self = Self(19);
    /// `application/link-format`
    pub const LINK_FORMAT: Self = Self(40);
    /// `application/cbor`
    pub const CBOR: Self = Self(60);
    /// `application/cose-key-set`
    pub const COSE_KEY_SET: Self = Self(102);
}
