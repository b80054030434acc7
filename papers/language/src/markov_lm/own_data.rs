//! The user's own file: a text, JSON lines with a text field, or a table of transition probabilities.

use super::config::Config;
use super::kernel::Kernel;
use super::operator::{Similarity, spectrum};
use super::sources::{ContextSettings, Markov, Source, Text};
use super::training::failed;
use ream_lab::{Cell, Error, Invalid, Result, Table};
use ream_rand::Stream;
use std::path::Path;

/// Name of the source in observations.
pub const NAME: &str = "own";

/// Reads a file as a source. `.csv`, `.tsv` and `.parquet` hold transition probabilities, one column for each token and one
/// row for each context; `.jsonl` holds texts in a field; anything else is UTF-8 text.
///
/// # Errors
/// What is wrong with the file, where, and what would be right.
pub fn read(config: &Config, file: &Path) -> Result<Box<dyn Source>> {
    let place = file.display().to_string();
    let name = file.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let ends = |endings: &[&str]| endings.iter().any(|end| plain.ends_with(end));
    if ends(&[".csv", ".tsv", ".tab", ".parquet"]) {
        return Ok(Box::new(Markov::new(NAME, kernel(file, &place)?).map_err(|e| at(&place, e))?));
    }
    let text = if ends(&[".jsonl", ".ndjson"]) {
        let rows = ream_data::Table::open(file)?.texts(&config.text.field)?;
        rows.into_iter().flatten().collect::<Vec<_>>().join("\n")
    } else {
        utf8(file, &place)?
    };
    let longest = config.model.window + config.probes.horizon;
    let settings = (config.text.context, config.text.minimum_count);
    Ok(Box::new(Text::new((&place, NAME), &text, config.text.level, settings, longest)?))
}

fn at(place: &str, error: Invalid) -> Invalid {
    Invalid { place: place.to_owned(), ..error }
}

fn utf8(file: &Path, place: &str) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|error| Error::Input(format!("cannot read {place}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        Invalid::new(place, "UTF-8 text", format!("other bytes from byte {byte} on")).into()
    })
}

fn kernel(file: &Path, place: &str) -> Result<Kernel> {
    let table = ream_data::Table::open(file)?;
    let names = table.names();
    if names.iter().all(|name| name.trim().parse::<f64>().is_ok_and(|v| (0.0..1.0).contains(&v) && v != 0.0))
    {
        let got = format!("`{}`", names.iter().take(4).copied().collect::<Vec<_>>().join(", "));
        return Err(Invalid::new(place, "a first line with the names of the tokens", got).into());
    }
    let columns: Vec<Vec<f64>> =
        names.iter().map(|name| table.numbers(name)).collect::<std::result::Result<_, _>>()?;
    let (rows, tokens) = (table.rows(), columns.len());
    let entries = (0..rows * tokens).map(|k| columns[k % tokens][k / tokens]).collect();
    Ok(Kernel::new(place, rows, tokens, entries)?)
}

/// What the laws of a source say before any network is trained: entropies and information for each divergence, and the
/// leading eigenvalues of the predictive-similarity operator.
///
/// # Errors
/// An unknown divergence; laws that are no laws.
pub fn report(config: &Config, source: &dyn Source, settings: ContextSettings) -> Result<Table> {
    let contexts = source.contexts(settings, Stream::new(config.synthetic.seed, "own contexts"));
    let (rows, tokens) = (contexts.laws.rows(), contexts.laws.cols());
    let kernel = Kernel::new(NAME, rows, tokens, contexts.laws.data().to_vec())?;
    let title = format!("The laws of {rows} contexts over {tokens} tokens");
    let mut table = Table::new(title, &["quantity", "divergence or operator", "value"]);
    table.note = "Entropy: copying the output against running twice, mean over contexts. Information: joint law of context and next token against the product of its marginals.".to_owned();
    for divergence in config.divergences()? {
        for (quantity, value) in [
            ("entropy", divergence.entropy_of(&kernel, &contexts.weights)?),
            ("information", divergence.information(&kernel, &contexts.weights)?),
        ] {
            table = table.row(vec![quantity.into(), divergence.to_string().into(), Cell::from(value)]);
        }
    }
    for similarity in Similarity::ALL {
        let spectrum = spectrum(&contexts.laws, &contexts.weights, similarity).map_err(failed)?;
        for (k, value) in spectrum.values.iter().take(config.evaluation.leading).enumerate() {
            let name = format!("eigenvalue {}", k + 2);
            table = table.row(vec![name.into(), similarity.to_string().into(), Cell::from(*value)]);
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lab::Preset;
    use std::io::Write;

    fn file(suffix: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read_file(suffix: &str, text: &str, change: impl Fn(&mut Config)) -> Result<Box<dyn Source>> {
        let mut config = Config::preset(Preset::Smoke);
        config.text.context = 2;
        config.text.minimum_count = 10;
        change(&mut config);
        read(&config, file(suffix, text.as_bytes()).path())
    }

    fn refuse(suffix: &str, text: &str, words: &[&str]) {
        let Err(error) = read_file(suffix, text, |_| ()) else { panic!("{suffix} was taken") };
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    fn words() -> String {
        let list = ["light", "and", "darkness", "water", "earth", "day", "night", "heaven", "spirit", "deep"];
        let mut rng = Stream::new(1, "words").at(0);
        (0..4000).map(|_| list[rng.below(list.len())]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_of_every_form_are_read() {
        let text = words();
        let source = read_file(".txt", &text, |_| ()).unwrap();
        assert_eq!((source.name(), source.memory()), ("own", 2));
        let lines: String =
            text.split(" day ").map(|part| format!("{{\"body\": \"{part}\", \"n\": 1}}\n")).collect();
        let from_json = read_file(".jsonl", &lines, |c| c.text.field = "body".to_owned()).unwrap();
        assert!(from_json.tokens() == source.tokens() + 1, "the line ends are a token of their own");
        let bytes = read_file(".md", &text, |c| c.text.level = super::super::sources::Level::Byte).unwrap();
        assert_eq!(bytes.tokens(), source.tokens());
    }

    #[test]
    fn tables_of_probabilities_are_read() {
        let source = read_file(".csv", "a,b\n0.9,0.1\n0.4,0.6\n", |_| ()).unwrap();
        assert_eq!((source.tokens(), source.memory()), (2, 1));
        assert_eq!(source.laws(&[1])[0].as_deref().unwrap(), [0.4, 0.6]);
        let pairs = read_file(".csv", "a,b\n0.9,0.1\n0.4,0.6\n0.5,0.5\n0.2,0.8\n", |_| ()).unwrap();
        assert_eq!(pairs.memory(), 2);
    }

    #[test]
    fn mistakes_in_a_file_are_named() {
        refuse(".txt", "", &["an empty file"]);
        refuse(".txt", "too short", &["at least", "tokens"]);
        refuse(".csv", "a,b\n0.9,0.1\n0.4,0.5\n", &["row 1", "the sum 0.9"]);
        refuse(".csv", "a,b\n1.1,-0.1\n0.4,0.6\n", &["row 0, column 1", "at least 0", "-0.1"]);
        refuse(".csv", "0.9,0.1\n0.4,0.6\n", &["first line with the names"]);
        refuse(".csv", "a,b\n0.9,x\n0.4,0.6\n", &["row 1", "`b`", "`x` is no finite number"]);
        refuse(".csv", "a,b\n0.9,0.1\n0.4,0.6\n0.5,0.5\n", &["each of the 2 tokens", "3 rows"]);
        refuse(".jsonl", "{\"body\": \"x\"}\n", &["there is no column `text`", "body"]);
        let Err(error) = read_file(".txt", &words(), |c| c.text.minimum_count = 1_000_000) else { panic!() };
        assert!(error.to_string().contains("at least 50 contexts"), "{error}");
        let Err(error) = read(&Config::preset(Preset::Smoke), file(".txt", &[b'a', 0xff, b'b']).path())
        else {
            panic!()
        };
        assert!(error.to_string().contains("UTF-8 text") && error.to_string().contains("byte 1"), "{error}");
        let Err(error) = read(&Config::preset(Preset::Smoke), Path::new("no-such-file.txt")) else {
            panic!()
        };
        assert!(error.to_string().contains("cannot read no-such-file.txt"), "{error}");
    }

    #[test]
    fn laws_are_reported_for_each_divergence() {
        let source = read_file(".csv", "a,b\n0.5,0.5\n0.5,0.5\n", |_| ()).unwrap();
        let config = Config::preset(Preset::Smoke);
        let settings = ContextSettings { window: 8, histories: 1, most: 100 };
        let table = report(&config, source.as_ref(), settings).unwrap();
        let value = |quantity: &str, of: &str| {
            let row = table.rows.iter().find(|r| r[0] == quantity.into() && r[1] == of.into()).unwrap();
            if let Cell::Number(value) = row[2] { value } else { f64::NAN }
        };
        assert!((value("entropy", "kl") - libm::log(2.0)).abs() < 1e-12);
        assert!((value("entropy", "tv") - 0.5).abs() < 1e-12);
        assert!(value("information", "renyi-2").abs() < 1e-12 && value("eigenvalue 2", "k").abs() < 1e-12);
    }
}
