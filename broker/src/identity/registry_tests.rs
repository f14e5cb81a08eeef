//! The one writer: what it changes, in which order, and what it refuses.
