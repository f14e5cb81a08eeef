//! Files that are imported, and files that are refused as a whole.
