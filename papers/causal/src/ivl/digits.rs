//! Coloured digits: the label is the parity of a handwritten digit, turned in a quarter of the cases; the colour agrees with the label
//! in 90 % of one half of the training digits and in 80 % of the other, and in 10 % of the test digits.
//!
//! An image has a red and a green channel; the digit stands in the one of its colour. The augmentation varies the gains of both channels
//! (`1 + G/2`, the draws are `G`) and shifts by at most a pixel: neither touches the shape, on which alone the label depends. Inputs
//! are 8 x 8 means of 3 x 3 pixels for each channel.

use ream_data::mnist::{Digits, SIDE};
use ream_rand::{Rng, Stream};
use ream_stats::Matrix;

use super::sample::Sample;

/// Side of the pooled image.
pub const POOLED: usize = 8;
/// Pixels that are pooled, in each direction.
const POOL: usize = 3;
/// Pixels left out on each side, so that a shift by one stays inside.
const MARGIN: isize = 2;
/// Inputs of a model: two channels.
pub const INPUTS: usize = 2 * POOLED * POOLED;
/// Share of labels that are turned.
pub const NOISE: f64 = 0.25;
/// How often colour and label agree in the two halves of training.
pub const AGREEMENT: [f64; 2] = [0.9, 0.8];
/// How often in the test.
pub const REVERSED: f64 = 0.1;
/// A linear model leaves out inputs that are 0 in all but fewer images: corners that only one of them reaches are dependent.
const FEWEST_INKED: usize = 20;
/// Change of a gain for one unit of `G`.
const GAIN: f64 = 0.5;

/// What an augmentation does to one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Gains of red and green less 1, in units of `GAIN`: uniform of variance 1, so that gains stay positive.
    pub gains: [f64; 2],
    /// Shift down and to the right, pixels.
    pub shift: [isize; 2],
}

impl Change {
    /// None.
    pub const NONE: Self = Self { gains: [0.0; 2], shift: [0; 2] };

    /// One at random.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let limit = 3.0_f64.sqrt();
        Self {
            gains: [rng.between(-limit, limit), rng.between(-limit, limit)],
            shift: [rng.below(3) as isize - 1, rng.below(3) as isize - 1],
        }
    }
}

/// Inputs of one image in one colour (0 red, 1 green), `[2 * 8 * 8]`.
#[must_use]
pub fn inputs(image: &[f32], colour: usize, change: Change) -> Vec<f64> {
    let mut to = vec![0.0; INPUTS];
    let gain = 1.0 + GAIN * change.gains[colour];
    let channel = &mut to[colour * POOLED * POOLED..(colour + 1) * POOLED * POOLED];
    for row in 0..POOLED * POOL {
        for column in 0..POOLED * POOL {
            let at = |k: usize, by: isize| (k as isize + MARGIN - by).clamp(0, SIDE as isize - 1) as usize;
            let value = image[at(row, change.shift[0]) * SIDE + at(column, change.shift[1])];
            channel[row / POOL * POOLED + column / POOL] += f64::from(value);
        }
    }
    channel.iter_mut().for_each(|v| *v *= gain / (POOL * POOL) as f64);
    to
}

/// Training digits with their labels and colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Coloured {
    /// Positions in the digits.
    pub images: Vec<usize>,
    /// Label, -1 or 1.
    pub labels: Vec<f64>,
    /// 0 red, 1 green.
    pub colours: Vec<usize>,
}

/// Colour that stands for a label.
fn colour_of(label: f64) -> usize {
    usize::from(label > 0.0)
}

fn parity(digit: u8) -> f64 {
    if digit % 2 == 1 { 1.0 } else { -1.0 }
}

/// Labels and colours for `count` digits at random (0: all).
#[must_use]
pub fn colour(digits: &Digits, count: usize, stream: Stream) -> Coloured {
    let mut images: Vec<usize> = (0..digits.len()).collect();
    stream.at(0).shuffle(&mut images);
    if count > 0 {
        images.truncate(count);
    }
    let mut rng = stream.at(1);
    let (mut labels, mut colours) = (Vec::new(), Vec::new());
    for (k, &i) in images.iter().enumerate() {
        let turned = if rng.chance(NOISE) { -1.0 } else { 1.0 };
        let label = turned * parity(digits.labels[i]);
        let agrees = rng.chance(AGREEMENT[k % 2]);
        labels.push(label);
        colours.push(if agrees { colour_of(label) } else { 1 - colour_of(label) });
    }
    Coloured { images, labels, colours }
}

impl Coloured {
    /// Inputs after a change each, `[n, 128]`.
    #[must_use]
    pub fn inputs(&self, digits: &Digits, changes: &[Change]) -> Matrix {
        let rows: Vec<Vec<f64>> = (0..self.images.len())
            .map(|k| inputs(digits.image(self.images[k]), self.colours[k], changes[k]))
            .collect();
        Matrix::from_fn(rows.len(), INPUTS, |i, j| rows[i][j])
    }

    /// A change for each image; `G` are the gains, `[n, 2]`.
    #[must_use]
    pub fn changes(&self, stream: Stream) -> (Vec<Change>, Matrix) {
        let mut rng = stream.at(0);
        let changes: Vec<Change> = self.images.iter().map(|_| Change::draw(&mut rng)).collect();
        let g = Matrix::from_fn(changes.len(), 2, |i, j| changes[i].gains[j]);
        (changes, g)
    }
}

/// The augmented sample of the inputs that vary, and what a prediction needs.
#[derive(Clone, Debug)]
pub struct LinearTask {
    /// The sample.
    pub sample: Sample,
    /// Its inputs among all 128.
    kept: Vec<usize>,
    /// Means of the raw and of the augmented inputs, and of the labels.
    means: [Vec<f64>; 2],
    mean_label: f64,
}

impl LinearTask {
    /// Augments once.
    #[must_use]
    pub fn new(digits: &Digits, of: &Coloured, stream: Stream) -> Self {
        let (changes, g) = of.changes(stream);
        let raw = of.inputs(digits, &vec![Change::NONE; of.images.len()]);
        let augmented = of.inputs(digits, &changes);
        let inked = |j: usize| (0..raw.rows()).filter(|&i| raw.get(i, j) != 0.0).count();
        let kept: Vec<usize> = (0..INPUTS).filter(|&j| inked(j) >= FEWEST_INKED).collect();
        let part = |x: &Matrix| Matrix::from_fn(x.rows(), kept.len(), |i, j| x.get(i, kept[j]));
        let (raw, augmented) = (part(&raw), part(&augmented));
        let mean = |x: &Matrix| -> Vec<f64> {
            (0..x.cols()).map(|j| x.column(j).iter().sum::<f64>() / x.rows() as f64).collect()
        };
        Self {
            means: [mean(&raw), mean(&augmented)],
            mean_label: of.labels.iter().sum::<f64>() / of.labels.len() as f64,
            sample: Sample::centred(&raw, &augmented, &g, &of.labels),
            kept,
        }
    }

    /// The score of an image, positive for label 1. Whether `h` was fitted to raw or to augmented inputs says which means to take.
    #[must_use]
    pub fn score(&self, h: &[f64], inputs: &[f64], on_raw: bool) -> f64 {
        let means = &self.means[usize::from(!on_raw)];
        let terms = self.kept.iter().zip(h).zip(means).map(|((&j, h), m)| h * (inputs[j] - m));
        self.mean_label + terms.sum::<f64>()
    }
}

/// Expected accuracy over the law of labels and colours, exactly: each digit is shown in both colours. `score` is positive for
/// label 1; a score of 0 is right half of the time.
#[must_use]
pub fn accuracy(digits: &Digits, agreement: f64, mut score: impl FnMut(usize, usize) -> f64) -> f64 {
    let mut sum = 0.0;
    for i in 0..digits.len() {
        let scores = [score(i, 0), score(i, 1)];
        for label in [-1.0, 1.0] {
            let likely = if label == parity(digits.labels[i]) { 1.0 - NOISE } else { NOISE };
            for (colour, score) in scores.iter().enumerate() {
                let share = if colour == colour_of(label) { agreement } else { 1.0 - agreement };
                let right = if *score == 0.0 { 0.5 } else { f64::from(u8::from(score * label > 0.0)) };
                sum += likely * share * right;
            }
        }
    }
    sum / digits.len() as f64
}

/// Some images in both colours, raw and changed, for a picture: RGB8 of 28 x 28 pixels and captions.
#[must_use]
pub fn shown(digits: &Digits, of: &Coloured, count: usize, stream: Stream) -> (Vec<Vec<u8>>, Vec<String>) {
    let (changes, _) = of.changes(stream);
    let (mut pixels, mut captions) = (Vec::new(), Vec::new());
    for (k, changed) in changes.into_iter().enumerate().take(count) {
        for (change, what) in [(Change::NONE, "raw"), (changed, "changed")] {
            pixels.push(painted(digits.image(of.images[k]), of.colours[k], change));
            let label = if of.labels[k] > 0.0 { "odd" } else { "even" };
            captions.push(format!("{label}, {what}"));
        }
    }
    (pixels, captions)
}

fn painted(image: &[f32], colour: usize, change: Change) -> Vec<u8> {
    let gain = (1.0 + GAIN * change.gains[colour]) as f32;
    let mut to = vec![0; 3 * SIDE * SIDE];
    for row in 0..SIDE {
        for column in 0..SIDE {
            let at = |k: usize, by: isize| (k as isize - by).clamp(0, SIDE as isize - 1) as usize;
            let value = image[at(row, change.shift[0]) * SIDE + at(column, change.shift[1])];
            // Half of the range, so that a gain up to 1.9 can be seen.
            to[3 * (row * SIDE + column) + colour] = (value * gain * 130.0).clamp(0.0, 255.0) as u8;
        }
    }
    to
}
