//! What the databases of the data directory share: their schemas, and what they do when the disk fails them: a reserve
//! for a full one, an end for a broken one.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Reserve`] | space that is given back on the first full-disk error |
//! | [`Schema`] | whose a file is, and how it is brought up to date |
//! | [`OnFault`], [`end_process`] | what happens when nobody knows any more what is stored |
mod fault;
mod reserve;
mod schema;

pub use fault::{EX_IOERR, Fault, OnFault, end_process};
pub use reserve::Reserve;
pub use schema::{Schema, SchemaError};
