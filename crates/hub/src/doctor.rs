//! Whether registry and disk agree.
