//! Keys of every form, and everything that is none.
