//! Augmentations of one's own columns: what is drawn for a row (`G`), and what becomes of its treatments.
//!
//! | spec | what it does | `G` |
//! |---|---|---|
//! | `translate cols=a,b sd=0.5` | adds `sd N(0, 1)` to each | one column for each |
//! | `null-of vector=1,0,-2 sd=1` | adds `sd G W`, `W` a basis of the directions that the vector does not see | one less than treatments |
//! | `permute-columns cols=a,b,c` | exchanges their values at random | `(k - 1)^2` indicators |
//! | `flip image=8x8 axis=h` | mirrors left and right (`v`: up and down) in half of the rows | one column |
//! | `rotate image=8x8 max=15` | turns by up to so many degrees, bilinear | one column |
//! | `shift image=8x8 by=1` | moves by up to so many pixels | two columns |
//! | `noise sd=0.3` | adds `sd N(0, 1)` to every treatment | one column for each |
//! | `column g=g1,g2 to=x1_t,x2_t` | takes your own parameters and changed columns | your columns |
//!
//! Images are the treatments in the order given, row by row.

use std::collections::BTreeMap;

use libm::sincos;
use ream_lab::{Invalid, did_you_mean};
use ream_rand::{Rng, Stream};
use ream_stats::Matrix;

use super::simulation::null_basis;

/// Axis of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Left and right change places.
    Horizontal,
    /// Up and down change places.
    Vertical,
}

/// One augmentation.
#[derive(Clone, Debug, PartialEq)]
pub enum Augmentation {
    /// Normal translations of some columns.
    Translate {
        /// Positions among the treatments.
        columns: Vec<usize>,
        /// Standard deviation.
        deviation: f64,
    },
    /// Normal translations that a vector does not see.
    NullOf {
        /// `[m - 1, m]`.
        basis: Matrix,
        /// Standard deviation along each direction.
        deviation: f64,
    },
    /// Random exchanges of columns.
    Permute {
        /// Positions among the treatments.
        columns: Vec<usize>,
    },
    /// Mirror images.
    Flip {
        /// Height and width.
        image: (usize, usize),
        /// What changes places.
        axis: Axis,
    },
    /// Rotations.
    Rotate {
        /// Height and width.
        image: (usize, usize),
        /// Largest angle, degrees.
        most: f64,
    },
    /// Shifts.
    Shift {
        /// Height and width.
        image: (usize, usize),
        /// Largest shift, pixels.
        by: usize,
    },
    /// Normal noise on all treatments.
    Noise {
        /// Standard deviation.
        deviation: f64,
    },
    /// The user's own.
    Columns {
        /// Columns of parameters.
        g: Vec<String>,
        /// Changed columns, in the order of the treatments.
        to: Vec<String>,
    },
}

const KINDS: [&str; 8] =
    ["translate", "null-of", "permute-columns", "flip", "rotate", "shift", "noise", "column"];

/// Specs from a list that was split at every comma: what does not begin with the name of an augmentation belongs to the one before.
#[must_use]
pub fn specs(list: &[String]) -> Vec<String> {
    let mut specs: Vec<String> = Vec::new();
    for item in list {
        let begins = item.split_whitespace().next().is_some_and(|word| KINDS.contains(&word));
        match specs.last_mut() {
            Some(before) if !begins => *before = format!("{before},{item}"),
            _ => specs.push(item.clone()),
        }
    }
    specs
}

/// The words `key=value` of a spec.
struct Words<'a> {
    spec: &'a str,
    given: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(spec: &'a str, kind: &str, allowed: &[&str]) -> Result<Self, Invalid> {
        let mut given = BTreeMap::new();
        for word in spec.split_whitespace().skip(1) {
            let Some((key, value)) = word.split_once('=').filter(|(key, _)| allowed.contains(key)) else {
                let wanted = format!("`{kind}` with {}", allowed.join("=..., "));
                return Err(Invalid::new(
                    "augment",
                    format!("{wanted}=..."),
                    format!("`{word}` in `{spec}`"),
                ));
            };
            given.insert(key, value);
        }
        Ok(Self { spec, given })
    }

    fn text(&self, key: &str) -> Result<&'a str, Invalid> {
        self.given.get(key).copied().ok_or_else(|| {
            Invalid::new("augment", format!("{key}=..."), format!("`{}` without it", self.spec))
        })
    }

    fn number(&self, key: &str, allowed: std::ops::RangeInclusive<f64>) -> Result<f64, Invalid> {
        let text = self.text(key)?;
        text.parse::<f64>().ok().filter(|v| allowed.contains(v)).ok_or_else(|| {
            let wanted = format!("{key}= a number between {} and {}", allowed.start(), allowed.end());
            Invalid::new("augment", wanted, format!("`{text}` in `{}`", self.spec))
        })
    }

    fn list(&self, key: &str) -> Result<Vec<String>, Invalid> {
        Ok(self.text(key)?.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect())
    }

    fn image(&self, treatments: usize) -> Result<(usize, usize), Invalid> {
        let text = self.text("image")?;
        let size = text.split_once('x').and_then(|(h, w)| Some((h.parse().ok()?, w.parse().ok()?)));
        size.filter(|(h, w): &(usize, usize)| h.checked_mul(*w) == Some(treatments)).ok_or_else(|| {
            let wanted = format!("image=HEIGHTxWIDTH of {treatments} pixels, the number of treatments");
            Invalid::new("augment", wanted, format!("`{text}` in `{}`", self.spec))
        })
    }

    fn columns(&self, treatments: &[String]) -> Result<Vec<usize>, Invalid> {
        let names = self.list("cols")?;
        let position = |name: &String| {
            treatments.iter().position(|t| t == name).ok_or_else(|| {
                let hint = did_you_mean(name, treatments.iter().map(String::as_str));
                let wanted = format!("cols= of the treatments, {}{hint}", treatments.join(", "));
                Invalid::new("augment", wanted, format!("`{name}` in `{}`", self.spec))
            })
        };
        names.iter().map(position).collect()
    }
}

/// Largest deviation that makes sense in a spec.
const LARGEST: f64 = 1e12;

impl Augmentation {
    /// Reads a spec for these treatments.
    ///
    /// # Errors
    /// An unknown word, a value that is missing or out of range, a column that is no treatment, an image of another size.
    pub fn parse(spec: &str, treatments: &[String]) -> Result<Self, Invalid> {
        let kind = spec.split_whitespace().next().unwrap_or_default();
        let m = treatments.len();
        match kind {
            "translate" => {
                let words = Words::new(spec, kind, &["cols", "sd"])?;
                let columns = words.columns(treatments)?;
                Ok(Self::Translate { columns, deviation: words.number("sd", 1e-12..=LARGEST)? })
            }
            "null-of" => {
                let words = Words::new(spec, kind, &["vector", "sd"])?;
                Ok(Self::NullOf {
                    basis: null_basis(&vector(&words, m)?),
                    deviation: words.number("sd", 1e-12..=LARGEST)?,
                })
            }
            "permute-columns" => {
                let columns = Words::new(spec, kind, &["cols"])?.columns(treatments)?;
                if columns.len() < 2 {
                    return Err(Invalid::new(
                        "augment",
                        "two or more columns to permute",
                        format!("`{spec}`"),
                    ));
                }
                Ok(Self::Permute { columns })
            }
            "flip" => {
                let words = Words::new(spec, kind, &["image", "axis"])?;
                let axis = match words.given.get("axis").copied().unwrap_or("h") {
                    "h" => Axis::Horizontal,
                    "v" => Axis::Vertical,
                    other => {
                        return Err(Invalid::new("augment", "axis=h or axis=v", format!("`{other}`")));
                    }
                };
                Ok(Self::Flip { image: words.image(m)?, axis })
            }
            "rotate" => {
                let words = Words::new(spec, kind, &["image", "max"])?;
                Ok(Self::Rotate { image: words.image(m)?, most: words.number("max", 1e-6..=180.0)? })
            }
            "shift" => {
                let words = Words::new(spec, kind, &["image", "by"])?;
                let image = words.image(m)?;
                let limit = image.0.min(image.1).saturating_sub(1).max(1) as f64;
                Ok(Self::Shift { image, by: words.number("by", 1.0..=limit)? as usize })
            }
            "noise" => {
                let words = Words::new(spec, kind, &["sd"])?;
                Ok(Self::Noise { deviation: words.number("sd", 1e-12..=LARGEST)? })
            }
            "column" => {
                let words = Words::new(spec, kind, &["g", "to"])?;
                let (g, to) = (words.list("g")?, words.list("to")?);
                if g.is_empty() || to.len() != m {
                    let wanted =
                        format!("g= of one or more columns and to= of {m} columns, one for each treatment");
                    return Err(Invalid::new("augment", wanted, format!("`{spec}`")));
                }
                Ok(Self::Columns { g, to })
            }
            other => {
                let hint = did_you_mean(other, KINDS);
                Err(Invalid::new(
                    "augment",
                    format!("one of {}{hint}", KINDS.join(", ")),
                    format!("`{spec}`"),
                ))
            }
        }
    }

    /// Positions of the treatments that it changes, of `m`.
    #[must_use]
    pub fn changes(&self, m: usize) -> Vec<usize> {
        match self {
            Self::Translate { columns, .. } | Self::Permute { columns } => columns.clone(),
            Self::NullOf { basis, .. } => {
                (0..m).filter(|&j| (0..basis.rows()).any(|i| basis.get(i, j).abs() > 1e-12)).collect()
            }
            _ => (0..m).collect(),
        }
    }

    /// Whether it shakes every treatment alike: no coefficient but 0 is left by that.
    #[must_use]
    pub fn shakes_all(&self, m: usize) -> bool {
        match self {
            Self::Noise { .. } => true,
            Self::Translate { columns, .. } => (0..m).all(|j| columns.contains(&j)),
            _ => false,
        }
    }

    /// Changes a row in place and writes down what was drawn.
    fn apply(&self, row: &mut [f64], rng: &mut Rng, g: &mut Vec<f64>) {
        match self {
            Self::Translate { columns, deviation } => {
                for &j in columns {
                    g.push(rng.normal());
                    row[j] += deviation * g[g.len() - 1];
                }
            }
            Self::Noise { deviation } => {
                for x in row {
                    g.push(rng.normal());
                    *x += deviation * g[g.len() - 1];
                }
            }
            Self::NullOf { basis, deviation } => {
                for i in 0..basis.rows() {
                    let parameter = rng.normal();
                    g.push(parameter);
                    row.iter_mut().zip(basis.row(i)).for_each(|(x, w)| *x += deviation * parameter * w);
                }
            }
            Self::Permute { columns } => permute(columns, row, rng, g),
            Self::Flip { image, axis } => {
                let flips = rng.chance(0.5);
                g.push(if flips { 1.0 } else { -1.0 });
                if flips {
                    flip(row, *image, *axis);
                }
            }
            Self::Rotate { image, most } => {
                let part = rng.between(-1.0, 1.0);
                g.push(part * 3.0_f64.sqrt());
                rotate(row, *image, (part * most).to_radians());
            }
            Self::Shift { image, by } => {
                let mut draw = || rng.below(2 * by + 1) as isize - *by as isize;
                let (down, right) = (draw(), draw());
                g.extend([down as f64, right as f64]);
                shift(row, *image, (down, right));
            }
            // The user's own columns are put in by the caller.
            Self::Columns { .. } => {}
        }
    }
}

fn vector(words: &Words<'_>, treatments: usize) -> Result<Vec<f64>, Invalid> {
    let list = words.list("vector")?;
    let values: Option<Vec<f64>> = list.iter().map(|v| v.parse().ok()).collect();
    let good = |v: &Vec<f64>| {
        v.len() == treatments && v.iter().all(|x| x.is_finite()) && v.iter().any(|x| *x != 0.0)
    };
    values.filter(|_| treatments > 1).filter(good).ok_or_else(|| {
        let wanted =
            format!("vector= of {treatments} numbers (two treatments or more), one for each, not all 0");
        Invalid::new("augment", wanted, format!("`{}`", words.spec))
    })
}

fn permute(columns: &[usize], row: &mut [f64], rng: &mut Rng, g: &mut Vec<f64>) {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    rng.shuffle(&mut order);
    let old: Vec<f64> = columns.iter().map(|&j| row[j]).collect();
    for (to, &from) in order.iter().enumerate() {
        row[columns[to]] = old[from];
    }
    // The last row and column of the permutation matrix follow from the others.
    let but_last = columns.len() - 1;
    for &from in &order[..but_last] {
        g.extend((0..but_last).map(|column| f64::from(u8::from(from == column))));
    }
}

fn flip(row: &mut [f64], (height, width): (usize, usize), axis: Axis) {
    match axis {
        Axis::Horizontal => row.chunks_exact_mut(width).for_each(<[f64]>::reverse),
        Axis::Vertical => {
            for i in 0..height / 2 {
                for j in 0..width {
                    row.swap(i * width + j, (height - 1 - i) * width + j);
                }
            }
        }
    }
}

/// Edges are continued outwards.
fn shift(row: &mut [f64], (height, width): (usize, usize), (down, right): (isize, isize)) {
    let old = row.to_vec();
    let at = |k: usize, by: isize, size: usize| (k as isize - by).clamp(0, size as isize - 1) as usize;
    for i in 0..height {
        for j in 0..width {
            row[i * width + j] = old[at(i, down, height) * width + at(j, right, width)];
        }
    }
}

/// About the middle of the image, bilinear, edges continued outwards.
fn rotate(row: &mut [f64], (height, width): (usize, usize), angle: f64) {
    let old = row.to_vec();
    let (sine, cosine) = sincos(angle);
    let middle = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
    for i in 0..height {
        for j in 0..width {
            let (y, x) = (i as f64 - middle.0, j as f64 - middle.1);
            let from = (middle.0 + cosine * y + sine * x, middle.1 - sine * y + cosine * x);
            row[i * width + j] = bilinear(&old, (height, width), from);
        }
    }
}

fn bilinear(image: &[f64], (height, width): (usize, usize), (y, x): (f64, f64)) -> f64 {
    let y = y.clamp(0.0, height as f64 - 1.0);
    let x = x.clamp(0.0, width as f64 - 1.0);
    let (top, left) = (y as usize, x as usize);
    let (bottom, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
    let (down, along) = (y - top as f64, x - left as f64);
    let between = |i: usize| image[i * width + left] * (1.0 - along) + image[i * width + right] * along;
    between(top) * (1.0 - down) + between(bottom) * down
}

/// Applies the augmentations one after the other: changed treatments `[n, m]` and what was drawn `[n, q]`. Each row has random
/// numbers of its own.
#[must_use]
pub fn augment(x: &Matrix, with: &[Augmentation], stream: Stream) -> (Matrix, Matrix) {
    let (mut changed, mut drawn) = (Vec::with_capacity(x.data().len()), Vec::new());
    let mut row = vec![0.0; x.cols()];
    for i in 0..x.rows() {
        row.copy_from_slice(x.row(i));
        let mut rng = stream.at(i as u64);
        with.iter().for_each(|augmentation| augmentation.apply(&mut row, &mut rng, &mut drawn));
        changed.extend_from_slice(&row);
    }
    let (n, m) = (x.rows(), x.cols());
    let q = drawn.len() / n.max(1);
    (Matrix::from_fn(n, m, |i, j| changed[i * m + j]), Matrix::from_fn(n, q, |i, j| drawn[i * q + j]))
}

/// Every column to the powers up to `degree`: first all columns, then their squares, and so on.
#[must_use]
pub fn powers(x: &Matrix, degree: u32) -> Matrix {
    let m = x.cols();
    Matrix::from_fn(x.rows(), m * degree as usize, |i, j| x.get(i, j % m).powi((j / m) as i32 + 1))
}
