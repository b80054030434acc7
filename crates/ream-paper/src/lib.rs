//! Papers, claims, checks and deviations as types; reads `paper.toml`.
//!
//! A *paper* is facts and our summary. A *claim* is a falsifiable headline statement of a paper with a rule: *checks*
//! over *measures*, combined by `holds`. What a verdict means is code in `ream-lab`; here is only what is written down.
//!
//! This crate does no I/O: the caller hands over the text and the name under which errors should report it.
//!
//! ```
//! let text = r#"
//! slug = "toy"
//! number = 1
//! title = "A toy"
//! date = "2024-05-01"
//! kind = "method"
//! family = "language"
//! topic = "toys"
//! line = "One line."
//! summary = "Two lines."
//!
//! [[claims]]
//! id = "c1"
//! kind = "finding"
//! statement = "It is small."
//! metric = "size"
//! compares = "toy vs real"
//! rule_text = "smaller"
//! scale = "paper"
//! paper_figure = { text = "10", source = "abstract" }
//! "#;
//! let paper = ream_paper::Paper::parse("paper.toml", text)?;
//! assert_eq!(paper.claims[0].id, "c1");
//! # Ok::<(), ream_paper::PaperError>(())
//! ```

mod date;
mod paper;
mod parse;
mod place;
mod rule;

pub use date::{PaperDate, days_in};
pub use paper::{Better, Claim, ClaimKind, Deviation, Family, Link, Measure, Paper, PaperFigure, Scale};
pub use parse::PaperError;
pub use place::{Filter, Place};
pub use rule::{Check, Margin, Quantity, Rule, Seeds, Term, Test};
