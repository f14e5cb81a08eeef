//! The outer form of an assertion: compact JWS, strictly (SPEC.md §6.1 to §6.3).
//!
//! Nothing is believed here; this is what the text says, if it says anything.
use keygate_protocol::assertion::{Compact, CompactError, JSON_LEN_MAX, is_jti};
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use std::fmt;

/// A text in the form of an assertion.
pub(super) struct Jws<'a> {
    pub(super) header: Header,
    pub(super) claims: Claims,
    pub(super) compact: Compact<'a>,
}

/// The protected header: these members and no others.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) typ: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) kid: Option<String>,
}

/// The claims that count. Others may be there and are not read.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) iss: Option<String>,
    pub(super) sub: Option<String>,
    pub(super) aud: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) cnonce: Option<String>,
    pub(super) iat: Option<u64>,
    pub(super) exp: Option<u64>,
    pub(super) nbf: Option<u64>,
    pub(super) jti: Option<String>,
    /// Binds the assertion to a token: then it says nothing alone (SPEC.md §6.3).
    pub(super) has_ath: bool,
}

/// The text is no JWS of this kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// Whether a password wants to be an assertion. Kinds of passwords are told apart by how they begin and by `~`, never by
/// trying one after the other: every JSON object begins so in base64url.
pub(super) fn looks_like_one(password: &[u8]) -> bool {
    password.starts_with(b"ey") && !password.contains(&b'~')
}

impl<'a> Jws<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let compact = Compact::parse(text).map_err(|_| Malformed)?;
        let mut buffer = [0; JSON_LEN_MAX];
        let header = json(compact.header(&mut buffer))?;
        let claims = json(compact.claims(&mut buffer))?;
        Ok(Self {
            header,
            claims,
            compact,
        })
    }
}

impl Claims {
    /// The claimed id: issuer and subject, which are one.
    pub(super) fn id(&self) -> Option<&str> {
        self.sub
            .as_deref()
            .filter(|sub| self.iss.as_deref() == Some(sub))
    }

    /// The `jti`, if it is one (SPEC.md §6.3).
    pub(super) fn jti(&self) -> Option<&str> {
        self.jti.as_deref().filter(|jti| is_jti(jti))
    }
}

fn json<T: DeserializeOwned>(text: Result<&[u8], CompactError>) -> Result<T, Malformed> {
    serde_json::from_slice(text.map_err(|_| Malformed)?).map_err(|_| Malformed)
}

/// For a member that may be left out but is no `null` when it is there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims, each once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = Claims::default();
        // Of two claims with one name, one reader takes the first and another the last: so none is taken. Names that
        // nobody reads are held to it as well. Quadratic in the claims that fit into the size bound.
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom("a claim stands twice"));
            }
            match name.as_str() {
                "iss" => claims.iss = Some(map.next_value()?),
                "sub" => claims.sub = Some(map.next_value()?),
                "aud" => claims.aud = Some(map.next_value()?),
                "client_id" => claims.client_id = Some(map.next_value()?),
                "cnonce" => claims.cnonce = Some(map.next_value()?),
                "iat" => claims.iat = Some(map.next_value()?),
                "exp" => claims.exp = Some(map.next_value()?),
                "nbf" => claims.nbf = Some(map.next_value()?),
                "jti" => claims.jti = Some(map.next_value()?),
                other => {
                    claims.has_ath |= other == "ath";
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.push(name);
        }
        Ok(claims)
    }
}
