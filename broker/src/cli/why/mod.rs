//! `keygate why ID`: the last refusal in words, what it means, and what to do.

mod advice;
mod explain;

pub(super) use explain::run;
