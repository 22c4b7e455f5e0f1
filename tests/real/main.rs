//! Everything on the real servers.
fn main() {}
