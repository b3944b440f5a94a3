//! What state a data directory is in, read beside a running server.
