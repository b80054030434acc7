//! Embeds the family's papers and results.

fn main() -> std::io::Result<()> {
    ream_build::family()
}
