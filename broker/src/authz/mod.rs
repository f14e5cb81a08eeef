//! What may they do: a pure decision, and a [`Permit`] that only it can make.
//!
//! ```text
//! Principal × action × topic --Policy--> Permit | Denied
//! ```
//! A filter is granted if one allow pattern covers it and no deny pattern overlaps it; a topic if an allow pattern
//! matches and no deny pattern does; nothing matching means no. `receive` follows `subscribe` in a role that has no rule
//! of its own for it. Patterns that begin with a wildcard never cover `$…`, nobody publishes to `$…`, and only the
//! broker writes presence, whatever the policy says.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Action`] | what can be granted |
//! | [`Pattern`] | topic patterns with `{device}`, `{group}` and `{attr.NAME}` |
//! | [`Policy`], [`Role`], [`Rule`] | the model, and the built-in roles |
//! | [`Permit`], [`Coverage`], [`Denied`] | the answers |
//! | [`Explanation`] | the same decision, told to people |
//!
//! The whole matrix of roles, actions and topics is `golden/matrix.txt` beside this file: a change of rights is a change
//! of that file.

mod action;
mod decide;
mod explain;
mod pattern;
mod permit;
mod policy;
mod scope;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use explain::{ExplainError, Explanation, RuleSeen};
pub use pattern::{Pattern, PatternError};
pub use permit::{Coverage, Denied, DeniedCause, Permit};
pub use policy::{Effect, Policy, Role, Rule};
pub use scope::ScopeEntry;
