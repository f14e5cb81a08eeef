//! Keys as openssl and people write them.
