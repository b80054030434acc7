//! Real tables: rows drawn from a table make tasks for a network that has only ever seen synthetic ones.
//!
//! Inputs are standardised and then divided by their largest size, so that they lie in `[-1, 1]` like the inputs of
//! training; the target is standardised. A task is `N` rows and one query row, drawn without replacement.

use super::compare::Agreement;
use super::lanes::{LANES, Real};
use super::tasks::{Chunk, Shape};
use rayon::prelude::*;
use ream_lab::{Cell, Invalid, Result, Table};
use ream_rand::Stream;
use std::path::Path;

/// Most inputs that a table may have.
pub const MOST_INPUTS: usize = 64;

/// Numeric columns of a table and the one to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// Name and values of each input.
    pub inputs: Vec<(String, Vec<f64>)>,
    /// Name and values of the target.
    pub target: (String, Vec<f64>),
}

/// A table ready for drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Inputs `[rows, d]` in `[-1, 1]`.
    pub x: Vec<f64>,
    /// Standardised target `[rows]`.
    pub y: Vec<f64>,
    /// Inputs of a row.
    pub d: usize,
}

impl Columns {
    /// Reads a table: the column `target` is predicted, every other column is an input.
    ///
    /// # Errors
    /// No such target; too many inputs; a cell that is missing or no number, with its row and column.
    pub fn read(file: &Path, target: &str) -> Result<Self> {
        let table = ream_data::Table::open(file)?;
        let names: Vec<String> = table.names().into_iter().map(str::to_owned).collect();
        if target.is_empty() {
            let wanted = format!("the column to predict, one of {}", names.join(", "));
            return Err(Invalid::new("table.target", wanted, "nothing").into());
        }
        let target = (target.to_owned(), table.numbers(target)?);
        input_count(&file.display().to_string(), &target.0, names.len() - 1)?;
        let mut inputs = Vec::new();
        for name in names.into_iter().filter(|name| *name != target.0) {
            let values = table.numbers(&name)?;
            inputs.push((name, values));
        }
        Ok(Self { inputs, target })
    }

    /// The diabetes data (Efron et al. 2004): 442 patients, ten inputs, disease progression one year on.
    pub fn diabetes() -> Self {
        let table = ream_data::diabetes::load();
        let column = |at: usize| table.features.iter().map(|row| row[at]).collect();
        let names = ream_data::diabetes::FEATURES.iter().enumerate();
        Self {
            inputs: names.map(|(at, name)| ((*name).to_owned(), column(at))).collect(),
            target: ("progression".to_owned(), table.target),
        }
    }

    /// Standardises and rescales. `place` names the table in errors.
    ///
    /// # Errors
    /// No inputs or more than [`MOST_INPUTS`]; fewer than `n_context + 1` rows; a column that never varies.
    pub fn prepare(&self, place: &str, n_context: usize) -> Result<Rows, Invalid> {
        let (d, rows) = (self.inputs.len(), self.target.1.len());
        input_count(place, &self.target.0, d)?;
        if rows < n_context + 1 {
            let wanted = format!("at least {} rows: n_context = {n_context} and a query", n_context + 1);
            return Err(Invalid::new(place, wanted, rows.to_string()));
        }
        let mut x = vec![0.0; rows * d];
        for (at, (name, values)) in self.inputs.iter().enumerate() {
            let scaled = standardised(place, name, values)?;
            let most = scaled.iter().map(|v| v.abs()).fold(0.0, f64::max);
            for (row, value) in scaled.iter().enumerate() {
                x[row * d + at] = value / most;
            }
        }
        let y = standardised(place, &self.target.0, &self.target.1)?;
        Ok(Rows { x, y, d })
    }

    /// The same with the first `d` inputs only.
    pub fn first_inputs(mut self, d: usize) -> Self {
        self.inputs.truncate(d);
        self
    }
}

fn input_count(place: &str, target: &str, d: usize) -> Result<(), Invalid> {
    if (1..=MOST_INPUTS).contains(&d) {
        return Ok(());
    }
    let wanted = format!("1 to {MOST_INPUTS} input columns beside the target `{target}`");
    Err(Invalid::new(place, wanted, d.to_string()))
}

/// Mean 0 and variance 1.
fn standardised(place: &str, name: &str, values: &[f64]) -> Result<Vec<f64>, Invalid> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if spread.is_nan() || spread <= 1e-12 * mean.abs() {
        let got = format!("the constant {mean}");
        return Err(Invalid::new(format!("{place}, column `{name}`"), "a column that varies", got));
    }
    Ok(values.iter().map(|v| (v - mean) / spread).collect())
}

impl Rows {
    /// Draws tasks: `n_context` rows and a query each, without replacement within a task.
    pub fn tasks<F: Real>(&self, n_context: usize, draws: usize, stream: Stream) -> Vec<Chunk<F>> {
        let shape = Shape { d: self.d, d_y: 1, n_context };
        (0..draws.div_ceil(LANES))
            .into_par_iter()
            .map(|index| {
                let mut rng = stream.at(index as u64);
                let mut chunk = Chunk::empty(shape);
                let mut order: Vec<usize> = (0..self.y.len()).collect();
                for _ in 0..LANES.min(draws - index * LANES) {
                    for at in 0..=n_context {
                        let other = at + rng.below(order.len() - at);
                        order.swap(at, other);
                    }
                    let drawn = &order[..=n_context];
                    let x: Vec<f64> =
                        drawn.iter().flat_map(|&r| &self.x[r * self.d..(r + 1) * self.d]).copied().collect();
                    let y: Vec<f64> = drawn.iter().map(|&r| self.y[r]).collect();
                    chunk.push(&x, &y);
                }
                chunk
            })
            .collect()
    }

    /// The rate at which gradient descent on all rows at once stops converging: `2 / largest eigenvalue of X^T X / rows`.
    pub fn divergence_bound(&self) -> f64 {
        let mut vector = vec![1.0; self.d];
        let mut largest = 0.0;
        // Power iteration; an underestimate of the eigenvalue only widens the bound.
        for _ in 0..500 {
            let mut next = vec![0.0; self.d];
            for row in self.x.chunks_exact(self.d) {
                let dot: f64 = row.iter().zip(&vector).map(|(a, b)| a * b).sum();
                for (sum, value) in next.iter_mut().zip(row) {
                    *sum += dot * value;
                }
            }
            largest = next.iter().map(|v| v * v).sum::<f64>().sqrt();
            if largest == 0.0 {
                return f64::INFINITY;
            }
            vector = next.iter().map(|v| v / largest).collect();
        }
        2.0 * self.y.len() as f64 / largest
    }
}

/// A model on the table beside its baseline.
#[derive(Clone, Debug)]
pub struct TableResult {
    /// Model, for instance `one-layer`.
    pub model: String,
    /// Model and gradient descent on the same draws.
    pub agreement: Agreement,
    /// Loss of least squares with the best penalty for the synthetic tasks.
    pub ridge: f64,
    /// Loss of the guess 0, the mean of the target.
    pub zero: f64,
}

/// The estimates as a table for the report.
pub fn report(place: &str, rows: &Rows, draws: usize, results: &[TableResult]) -> Table {
    let title = format!("Networks trained on synthetic tasks, on {place}");
    let columns = [
        "network",
        "query loss",
        "gradient descent",
        "relative gap",
        "mean |difference|",
        "cosine",
        "ridge",
        "mean",
    ];
    let mut table = Table::new(title, &columns);
    table.note = format!(
        "{draws} draws from {} rows with {} inputs; losses are half squared errors of the standardised target.",
        rows.y.len(),
        rows.d
    );
    for result in results {
        let a = result.agreement;
        let numbers = [a.loss, a.reference, a.gap, a.difference, a.cosine, result.ridge, result.zero];
        let mut cells = vec![Cell::from(result.model.as_str())];
        cells.extend(numbers.map(Cell::from));
        table = table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(rows: usize) -> Columns {
        let column = |k: f64| (0..rows).map(|r| libm::sin(k * r as f64 + k)).collect::<Vec<f64>>();
        Columns {
            inputs: vec![("a".to_owned(), column(1.0)), ("b".to_owned(), column(2.0))],
            target: ("y".to_owned(), column(3.0).iter().map(|v| 100.0 + 7.0 * v).collect()),
        }
    }

    #[test]
    fn inputs_lie_in_the_training_range_and_the_target_is_standard() {
        let rows = columns(50).prepare("t.csv", 10).unwrap();
        assert!(rows.x.iter().all(|v| v.abs() <= 1.0) && rows.x.iter().any(|v| v.abs() == 1.0));
        let mean = rows.y.iter().sum::<f64>() / 50.0;
        let variance = rows.y.iter().map(|v| v * v).sum::<f64>() / 50.0;
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        let error = columns(10).prepare("t.csv", 10).unwrap_err();
        assert_eq!(error.to_string(), "t.csv: wanted at least 11 rows: n_context = 10 and a query, got 10");
        let mut constant = columns(20);
        constant.inputs[1].1.fill(3.0);
        let error = constant.prepare("t.csv", 10).unwrap_err();
        assert_eq!(error.to_string(), "t.csv, column `b`: wanted a column that varies, got the constant 3");
        let mut wide = columns(20);
        wide.inputs = (0..65).map(|k| (format!("x{k}"), wide.inputs[0].1.clone())).collect();
        let error = wide.prepare("t.csv", 10).unwrap_err();
        assert!(error.to_string().contains("1 to 64 input columns"), "{error}");
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file
    }

    /// Each mistake of a file is named with what would be right.
    #[test]
    fn mistakes_in_a_file_are_named() {
        let good = file("a,b,y\n1,2,3\n2,1,5\n4,4,4\n");
        let columns = Columns::read(good.path(), "b").unwrap();
        assert_eq!(columns.target, ("b".to_owned(), vec![2.0, 1.0, 4.0]));
        assert_eq!(columns.inputs[1], ("y".to_owned(), vec![3.0, 5.0, 4.0]));
        let refuse = |text: &str, target: &str, words: &[&str]| {
            let file = file(text);
            let error = Columns::read(file.path(), target).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refuse("a,town,y\n1,Ulm,3\n2,Bonn,5\n", "y", &["`town`", "`Ulm` is no finite number"]);
        refuse("a,b,y\n1,2,3\n2,,5\n", "y", &["row 2", "`b`", "missing"]);
        refuse("a,b,y\n1,2,3\n", "yy", &["there is no column `yy`", "`y`"]);
        refuse("a,b,y\n1,2,3\n", "", &["table.target", "a, b, y"]);
        let header: Vec<String> = (0..66).map(|k| format!("x{k}")).collect();
        refuse(
            &format!("{}\n{}\n", header.join(","), vec!["1"; 66].join(",")),
            "x3",
            &["1 to 64 input", "65"],
        );
    }

    #[test]
    fn the_diabetes_data_fits_the_training_range() {
        let rows = Columns::diabetes().prepare("diabetes", 10).unwrap();
        assert_eq!((rows.d, rows.y.len()), (10, ream_data::diabetes::load().target.len()));
        assert!(rows.y.len() > 400);
        assert!(rows.x.iter().all(|v| v.abs() <= 1.0));
    }

    #[test]
    fn draws_are_distinct_rows_and_repeatable() {
        let mut table = columns(12);
        table.target.1 = (0..12).map(f64::from).collect();
        let rows = table.prepare("t.csv", 10).unwrap();
        let set: Vec<Chunk<f64>> = rows.tasks(10, 100, Stream::new(1, "draws"));
        assert_eq!(set.iter().map(|c| c.used).sum::<usize>(), 100);
        for chunk in &set {
            for lane in 0..chunk.used {
                let mut y = chunk.task(lane).1;
                y.sort_by(f64::total_cmp);
                y.dedup();
                assert_eq!(y.len(), 11);
            }
        }
        let again: Vec<Chunk<f64>> = rows.tasks(10, 100, Stream::new(1, "draws"));
        assert_eq!(set[3].x, again[3].x);
    }

    #[test]
    fn the_divergence_bound_is_where_descent_turns() {
        let rows = Rows { x: vec![1.0, 0.0, -1.0, 0.0, 0.0, 0.5, 0.0, -0.5], y: vec![0.0; 4], d: 2 };
        assert!((rows.divergence_bound() - 2.0 / (2.0 / 4.0)).abs() < 1e-9);
    }
}
