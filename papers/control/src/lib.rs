//! Papers of the control family
