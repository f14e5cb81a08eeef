//! The path of a request, as segments, because that is what CoAP carries and what is signed.

use core::fmt;

/// Most segments of a path. `status/{id}/reported` has three.
pub const PATH_SEGMENTS_MAX: usize = 8;

/// Most bytes of all segments together: a path in front of three ids of the longest kind.
pub const PATH_LEN_MAX: usize = 255;

/// A path of 0 to 8 segments, none of them empty, `.` or `..` (RFC 7252 §5.10.1).
///
/// ```
/// use keygate_protocol::coap::{Path, PathError};
///
/// let path = Path::new(["status", "dev1", "reported"])?;
/// assert_eq!(path.segments(), ["status", "dev1", "reported"]);
/// assert_eq!(Path::new(["status", "..", "token"]), Err(PathError::DotSegment));
/// # Ok::<(), PathError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path<'a>(heapless::Vec<&'a str, PATH_SEGMENTS_MAX>);

impl<'a> Path<'a> {
    /// Checks segments, in their order: the Uri-Path options of a request.
    pub fn new(segments: impl IntoIterator<Item = &'a str>) -> Result<Self, PathError> {
        let mut path = heapless::Vec::new();
        let mut room = PATH_LEN_MAX;
        for segment in segments {
            match segment {
                "" => return Err(PathError::EmptySegment),
                "." | ".." => return Err(PathError::DotSegment),
                _ => (),
            }
            room = room.checked_sub(segment.len()).ok_or(PathError::TooLong)?;
            path.push(segment).map_err(|_| PathError::TooManySegments)?;
        }
        Ok(Self(path))
    }

    /// The segments.
    #[must_use]
    pub fn segments(&self) -> &[&'a str] {
        &self.0
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// Why segments are no path that could be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathError {
    /// A segment `.` or `..`.
    DotSegment,
    /// A segment of no bytes: `/token` and `/token/` would be two names of one thing.
    EmptySegment,
    /// More than [`PATH_LEN_MAX`] bytes.
    TooLong,
    /// More than [`PATH_SEGMENTS_MAX`] segments.
    TooManySegments,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DotSegment => "a path has no segment . or ..",
            Self::EmptySegment => "a path has no empty segment",
            Self::TooLong => "the path is too long",
            Self::TooManySegments => "the path has too many segments",
        })
    }
}

impl core::error::Error for PathError {}
