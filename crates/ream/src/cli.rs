//! Commands and flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Daily papers you can run: every paper with a working system, every headline claim executed.
#[derive(Debug, Parser)]
#[command(name = "ream", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Where run directories live [default: $REAM_HOME/runs, else ~/.ream/runs]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) runs: Option<PathBuf>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The papers of this edition
    Papers(Papers),
    /// One paper: summary, claims, how to run it
    Show {
        /// Short name of the paper
        paper: String,
    },
    /// Run a paper's system and judge its claims
    Run(Box<RunArgs>),
    /// The configuration of a preset, as TOML with comments
    Config {
        /// Short name of the paper
        paper: String,
        /// Which preset
        #[arg(long, value_enum, default_value_t = PresetName::Smoke)]
        preset: PresetName,
        /// Print the JSON schema instead
        #[arg(long)]
        schema: bool,
    },
    /// List, watch, cancel, publish, remove runs
    #[command(subcommand)]
    Runs(Runs),
    /// What a run says: claims, tables, measures
    Report(Report),
    /// The measures of two runs side by side
    Compare {
        /// A run: its name, the beginning of it, or `last`
        a: String,
        /// Another run
        b: String,
    },
    /// The observations of a run as a table
    ExportRun {
        /// A run: its name, the beginning of it, or `last`
        run: String,
        /// Comma-separated values
        #[arg(long)]
        csv: bool,
    },
    /// Every claim: the paper's figure, the measured value, the verdict
    Claims(Claims),
    /// Data sets: list, fetch, verify
    #[command(subcommand)]
    Data(Data),
    /// Try a language model: continue a text, talk, score, measure
    #[command(subcommand)]
    Lm(Lm),
    /// Search the collection
    Search(Search),
    /// Bring papers into the collection
    Import(Import),
    /// Write papers of the collection
    Export(Export),
    /// Serve the site on this machine
    Serve(Serve),
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The manual page, as roff
    Man,
    /// Run one seed of a run (started by `ream run`, or by a batch system)
    #[command(hide = true)]
    Worker {
        /// The run directory
        run: PathBuf,
        /// Which seed
        #[arg(long)]
        seed: u64,
        /// Threads; observations do not depend on it
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Papers {
    /// Only papers that run
    #[arg(long)]
    pub(crate) implemented: bool,
    /// Only this family
    #[arg(long)]
    pub(crate) family: Option<String>,
    /// Only papers with a claim of this verdict, for instance `confirmed` or `"not confirmed"`
    #[arg(long)]
    pub(crate) verdict: Option<String>,
    /// Only papers whose full run takes at most this long, for instance `2min` or `90s`
    #[arg(long, value_name = "TIME")]
    pub(crate) under: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PresetName {
    /// Seconds; shows that it works, is not evidence
    Smoke,
    /// The experiment on which verdicts rest
    Full,
    /// More of everything, where a paper has it
    Long,
}

impl From<PresetName> for ream_lab::Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Smoke => Self::Smoke,
            PresetName::Full => Self::Full,
            PresetName::Long => Self::Long,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Short name of the paper
    #[arg(required_unless_present = "resume")]
    pub(crate) paper: Option<String>,
    /// Which configuration to start from
    #[arg(long, value_enum, default_value_t = PresetName::Smoke)]
    pub(crate) preset: PresetName,
    /// `5` for seeds 1 to 5, `3,7,9` for these
    #[arg(long, value_name = "N|LIST")]
    pub(crate) seeds: Option<String>,
    /// Change a key of the configuration; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Change keys by a TOML file (see `ream config`)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run on your own file instead of the built-in data
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Only these claims, for instance `c2,c4`
    #[arg(long, value_delimiter = ',')]
    pub(crate) claims: Vec<String>,
    /// Threads of each seed [default: what the system uses well]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Seeds at once [default: cores / threads]
    #[arg(long)]
    pub(crate) slots: Option<usize>,
    /// Show what would run, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Fetch missing data without asking
    #[arg(long)]
    pub(crate) fetch: bool,
    /// Go on with a run: its name, the beginning of it, or `last`
    #[arg(long, value_name = "RUN", conflicts_with_all = ["paper", "preset", "seeds", "sets", "config", "data", "claims", "dry_run"])]
    pub(crate) resume: Option<String>,
    /// With --resume: try failed seeds again
    #[arg(long, requires = "resume")]
    pub(crate) retry_failed: bool,
    /// Exit with 1 when a claim has this verdict, for instance `"not confirmed"`
    #[arg(long, value_name = "VERDICT")]
    pub(crate) fail_on: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// All runs, newest first
    List,
    /// Progress of a run until it ends
    Watch {
        /// A run: its name, the beginning of it, or `last`
        run: String,
    },
    /// Ask the workers of a run to stop at their next safe point
    Cancel {
        /// A run
        run: String,
    },
    /// Remove runs
    Rm {
        /// Runs
        #[arg(required = true, value_name = "RUN")]
        names: Vec<String>,
    },
    /// Remove smoke runs and runs that never finished, older than some days
    Gc {
        /// Age in days
        #[arg(long, default_value_t = 30)]
        older_than: u64,
        /// Remove; without this it only says what would go
        #[arg(long)]
        yes: bool,
    },
    /// Write a full run into the repository's results
    Publish {
        /// A run that is evidence
        run: String,
        /// The folder `papers` of the repository
        #[arg(long, default_value = "papers")]
        into: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A run: its name, the beginning of it, or `last`
    pub(crate) run: String,
    /// Open the page in a browser
    #[arg(long)]
    pub(crate) open: bool,
    /// Tables in this format on standard output
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Everything about one claim
    #[arg(long, value_name = "CLAIM")]
    pub(crate) explain: Option<String>,
    /// Write every picture as PNG into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) png: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Markdown
    Md,
    /// Comma-separated values
    Csv,
    /// LaTeX
    Latex,
}

#[derive(Debug, Args)]
pub(crate) struct Claims {
    /// Only this paper
    pub(crate) paper: Option<String>,
    /// As a Markdown table
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Also claims of papers without a system
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Every data set: size, licence, whether it is here
    List,
    /// Fetch data sets through their registries' own clients
    Fetch {
        /// Data sets, or papers with `--for`
        ids: Vec<String>,
        /// Everything this paper needs
        #[arg(long = "for", value_name = "PAPER")]
        paper: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Where a fetched data set is
    Path {
        /// The data set
        id: String,
    },
    /// Compare fetched files with their checksums
    Verify {
        /// Data sets; all that are here when none is named
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lm {
    /// Continue a text
    Complete {
        #[command(flatten)]
        model: LmModel,
        #[command(flatten)]
        sampling: Sampling,
        /// The text, or - for standard input
        #[arg(required = true)]
        prompt: Vec<String>,
    },
    /// Talk with the model; each line of standard input is a message
    Chat {
        #[command(flatten)]
        model: LmModel,
        #[command(flatten)]
        sampling: Sampling,
        /// What the model is told about its part
        #[arg(long, value_name = "TEXT")]
        system: Option<String>,
    },
    /// How probable the model finds a text
    Score {
        #[command(flatten)]
        model: LmModel,
        /// The text's file, or - for standard input
        file: PathBuf,
    },
    /// Tokens per second on this machine
    Bench {
        #[command(flatten)]
        model: LmModel,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LmModel {
    /// A GGUF file of a llama, or the data set `smollm2`
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Args)]
pub(crate) struct Sampling {
    /// Most tokens of an answer
    #[arg(long, default_value_t = 128)]
    pub(crate) tokens: usize,
    /// 0 always takes the most probable token
    #[arg(long, default_value_t = 0.7, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Only the K most probable tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Only the most probable tokens that together reach P
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Only tokens at least P times as probable as the most probable
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words, "phrases", prefix*, AND OR NOT, author: year:2024.. verdict:confirmed runs:<2min
    #[arg(required = true)]
    pub(crate) query: Vec<String>,
    /// By words, by meaning, or both fused
    #[arg(long, value_enum, default_value_t = SearchMode::Fused)]
    pub(crate) mode: SearchMode,
    /// How many papers
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    /// Go on after this cursor (printed below a page)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchMode {
    /// Words
    Text,
    /// Sentence embeddings
    Meaning,
    /// Both, fused by reciprocal rank
    Fused,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A file, or - for standard input; gzip and zip are opened
    pub(crate) file: PathBuf,
    /// The format, where its beginning does not tell
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Do not compute embeddings for meaning search now
    #[arg(long)]
    pub(crate) no_embed: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("format").required(true))]
pub(crate) struct Export {
    /// BibTeX
    #[arg(long, group = "format")]
    pub(crate) bibtex: bool,
    /// RIS
    #[arg(long, group = "format")]
    pub(crate) ris: bool,
    /// CSL-JSON
    #[arg(long, group = "format")]
    pub(crate) csl: bool,
    /// JSON lines
    #[arg(long, group = "format")]
    pub(crate) jsonl: bool,
    /// Comma-separated values
    #[arg(long, group = "format")]
    pub(crate) csv: bool,
    /// Atom
    #[arg(long, group = "format")]
    pub(crate) atom: bool,
    /// JSON Feed
    #[arg(long, group = "format")]
    pub(crate) json_feed: bool,
    /// Only papers that this search finds
    #[arg(long, value_name = "QUERY")]
    pub(crate) search: Option<String>,
    /// Only this paper
    #[arg(long, value_name = "PAPER", conflicts_with = "search")]
    pub(crate) paper: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 4711)]
    pub(crate) port: u16,
    /// Address to listen on. On any but a loopback address nothing can be run or imported
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) bind: std::net::IpAddr,
    /// Open the site in a browser
    #[arg(long)]
    pub(crate) open: bool,
}
