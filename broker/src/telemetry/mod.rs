//! What the broker tells its operator: the audit trail (who did what, who was refused and why) and the log.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event`] | every security event there is, one closed enum |
//! | [`reason`] | why somebody was refused |

pub mod event;
pub mod reason;

pub use event::{Event, EventKind};
