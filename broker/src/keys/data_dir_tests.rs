//! Directories that are opened, refused, held, interrupted.
