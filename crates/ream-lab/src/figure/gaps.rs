//! Numbers that JSON cannot hold: a value that is not finite is a gap, written `null`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What has gaps, and its form without them.
pub(super) trait Gaps: Sized {
    /// The form that is written.
    type Form: Serialize + for<'de> Deserialize<'de>;
    fn form(&self) -> Self::Form;
    fn from_form(form: Self::Form) -> Self;
}

impl Gaps for f64 {
    type Form = Option<f64>;
    fn form(&self) -> Option<f64> {
        self.is_finite().then_some(*self)
    }
    fn from_form(form: Option<f64>) -> Self {
        form.unwrap_or(f64::NAN)
    }
}

impl Gaps for [f64; 2] {
    type Form = [Option<f64>; 2];
    fn form(&self) -> Self::Form {
        self.map(|v| v.form())
    }
    fn from_form(form: Self::Form) -> Self {
        form.map(f64::from_form)
    }
}

impl<T: Gaps> Gaps for Vec<T> {
    type Form = Vec<T::Form>;
    fn form(&self) -> Self::Form {
        self.iter().map(T::form).collect()
    }
    fn from_form(form: Self::Form) -> Self {
        form.into_iter().map(T::from_form).collect()
    }
}

pub(super) fn serialize<T: Gaps, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.form().serialize(to)
}

pub(super) fn deserialize<'de, T: Gaps, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::Form::deserialize(from).map(T::from_form)
}
