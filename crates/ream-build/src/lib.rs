//! What a family's build script does: embed its papers and results, hash its sources
