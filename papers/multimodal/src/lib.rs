//! Papers of the multimodal family
