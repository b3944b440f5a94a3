//! Engine's writer and cache under trouble that only a process of its own can have, and what they cost.

mod costs;
mod writer;
