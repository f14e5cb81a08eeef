//! What the broker tells its operator: the audit trail (who did what, who was refused and why) and the log.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event`], [`reason`] | every security event there is, one closed enum; why somebody was refused |
//! | [`audit`] | the handle that records without blocking, and the thread that writes |
//! | [`trail`] | the files: rotation by size, reading with filters, following |
//! | [`figures`] | what the broker counts |
//! | [`log`] | the set-up of the log on standard error |

pub mod audit;
pub mod event;
pub mod figures;
pub mod log;
pub mod ration;
pub mod reason;
pub mod trail;

pub use audit::{Audit, AuditWriter};
pub use event::{Event, EventKind};
pub use figures::{Figures, Tally};
