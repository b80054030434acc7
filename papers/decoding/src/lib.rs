//! Papers of the decoding family
