//! The `ream` command line.

fn main() {}
