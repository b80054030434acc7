//! Tells the program which commit it was built from.

fn main() -> std::io::Result<()> {
    ream_build::program(&[
        "ream-rand",
        "ream-simd",
        "ream-paper",
        "ream-stats",
        "ream-trees",
        "ream-data",
        "ream-lab",
        "ream-nn",
        "ream-lm",
    ])
}
