//! Random operations against a simple model, with restarts and crashes between them.
