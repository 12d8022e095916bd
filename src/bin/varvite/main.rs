//! The `varvite` program.
fn main() {}
