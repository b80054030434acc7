//! The whole system on made-up text.

use super::cells::Cell;
use super::corpus::tests::sample;
use super::*;
use ream_lab::Observation;

/// A configuration of seconds that goes through everything.
fn tiny() -> Config {
    Config {
        d: 16,
        heads: 2,
        layers: 1,
        merges: 40,
        pretraining_tokens: 6000,
        finetuning_tokens: 1500,
        replicates: 2,
        zero_shot_items: 10,
        multitask_items: 10,
        validation_examples: 8,
        points: 3,
        draws: 100,
        ..Config::preset(Preset::Smoke)
    }
}

fn run_on_sample(config: &Config, seed: u64) -> Run {
    config.check().unwrap();
    let mut run = Run::in_memory(seed);
    let prepared = Prepared::of(config, &mut run, sample(6, 20), None).unwrap();
    grid(config, &mut run, &prepared).unwrap();
    run
}

/// What a check would read is observed, what is observed is declared, and every picture is drawn.
#[test]
fn every_measure_is_declared_and_every_term_observed() {
    let toml = include_str!("paper.toml");
    let run = run_on_sample(&tiny(), 3);
    let observed = run.observations();
    for o in &observed {
        assert!(toml.contains(&format!("id = \"{}\"", o.measure)), "{}", o.measure);
        assert!(o.value.is_finite(), "{o}");
    }
    for term in toml.split('"').filter(|part| part.contains('@')) {
        let (measure, arm) = term.split_once('@').unwrap();
        assert!(observed.iter().any(|o| o.measure == measure && o.arm == arm), "{term}");
    }
    for line in toml.lines().skip_while(|l| *l != "[[measures]]").take_while(|l| *l != "[[claims]]") {
        if let Some(id) = line.strip_prefix("id = \"").and_then(|l| l.strip_suffix('"')) {
            assert!(observed.iter().any(|o| o.measure == id), "{id} is declared but not observed");
        }
    }
    let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["scores", "attention", "adaptation"]);
    let titles: Vec<&str> = run.tables().iter().map(|t| t.title.as_str()).collect();
    assert_eq!(titles.len(), 6, "{titles:?}");
    // Equal tokens for all cells, and nothing shared with training.
    let of = |measure: &str| -> Vec<f64> {
        observed.iter().filter(|o| o.measure == measure).map(|o| o.value).collect()
    };
    assert!(of("tokens").iter().all(|t| *t == of("tokens")[0]) && of("tokens").len() == 6);
    assert_eq!(of("overlap"), [0.0; 4]);
    assert_eq!(of("zero_shot_by_replicate").len(), 2 * 7 + 1);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let config = Config { cells: vec![Cell::CdFlm, Cell::EdMlm], replicates: 1, ..tiny() };
    let observe = |seed| run_on_sample(&config, seed).observations();
    let bits = |all: &[Observation]| all.iter().map(|o| o.value.to_bits()).collect::<Vec<_>>();
    let (one, again, other) = (observe(1), observe(1), observe(2));
    assert_eq!(one, again);
    assert_ne!(bits(&one), bits(&other));
}

#[test]
fn parts_can_be_left_out() {
    let config = Config {
        cells: vec![Cell::NdPlm],
        replicates: 1,
        finetuning_tokens: 0,
        adaptation: 0.0,
        mask_rate: 0.3,
        mean_span: 2.0,
        ..tiny()
    };
    let run = run_on_sample(&config, 1);
    let observed = run.observations();
    assert!(observed.iter().any(|o| o.measure == "zero_shot" && o.arm == "nd-plm"));
    assert!(!observed.iter().any(|o| o.measure == "multitask" || o.measure == "speed_up"));
    let share = observed.iter().find(|o| o.measure == "corrupted_share").unwrap().value;
    assert!((share - 0.3).abs() < 0.01, "{share}");
}

/// A model that was saved is judged as it was; one of another shape or of another text is refused.
#[test]
fn a_saved_model_is_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let saving = Config {
        cells: vec![Cell::EdMlm],
        replicates: 1,
        finetuning_tokens: 0,
        adaptation: 0.0,
        save_to: Some(folder.path().display().to_string()),
        ..tiny()
    };
    let first = run_on_sample(&saving, 5);
    let path = folder.path().join("ed-mlm-1.safetensors");
    assert_eq!(experiments::cell_of_checkpoint(&path).unwrap(), Cell::EdMlm);
    let loading = Config { save_to: None, checkpoint: Some(path.display().to_string()), ..saving };
    ArchObjective::check(&loading).unwrap();
    let second = run_on_sample(&loading, 5);
    let score = |run: &Run| -> Vec<Observation> {
        run.observations().into_iter().filter(|o| o.measure.starts_with("zero_shot")).collect()
    };
    assert_eq!(score(&first), score(&second));

    let refused = |config: &Config, chapters| {
        let mut run = Run::in_memory(5);
        let prepared = Prepared::of(config, &mut run, chapters, None).unwrap();
        grid(config, &mut run, &prepared).unwrap_err().to_string()
    };
    let wider = Config { d: 32, ..loading.clone() };
    let error = refused(&wider, sample(6, 20));
    assert!(error.contains("is of another configuration") && error.contains("\"d\":16"), "{error}");
    let error = refused(&Config { cells: vec![Cell::NdMlm], ..loading.clone() }, sample(6, 20));
    assert!(error.contains("\"ed-mlm\" there"), "{error}");
    let error = refused(&loading, sample(6, 22));
    assert!(error.contains("a model of the same text and tokenizer"), "{error}");
    let absent = Config { checkpoint: Some("nowhere".to_owned()), ..loading };
    assert!(ArchObjective::check(&absent).unwrap_err().to_string().contains("checkpoint"));
}

/// The user's text goes through the grid; so do the user's tasks, once they fit the context.
#[test]
fn the_users_own_files() {
    let text: Vec<String> = sample(6, 40).iter().map(|c| c.lines.join("\n")).collect();
    let file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
    std::fs::write(file.path(), text.join("\n\n")).unwrap();
    let config = Config { cells: vec![Cell::CdFlm], replicates: 1, adaptation: 0.0, ..tiny() };
    ArchObjective::check_data(&config, file.path()).unwrap();
    let mut run = Run::in_memory_on(1, file.path());
    ArchObjective::run(&config, &mut run).unwrap();
    assert!(run.observations().iter().any(|o| o.measure == "multitask" && o.arm == "cd-flm"));
    // There are no plays to set against it, and the reader is told.
    assert!(run.warnings().iter().all(|w| !w.contains("void")), "{:?}", run.warnings());

    let items = |prompt: &str| {
        vec![items::Item {
            task: "own".to_owned(),
            prompt: prompt.to_owned(),
            options: vec![" bread".to_owned(), " water".to_owned()],
            answer: 1,
        }]
    };
    let mut run = Run::in_memory(1);
    let prepared = Prepared::of(&config, &mut run, sample(6, 20), Some(items("the king and"))).unwrap();
    grid(&config, &mut run, &prepared).unwrap();
    let own = |o: &Observation| o.measure == "zero_shot_accuracy" && o.arm == "cd-flm";
    assert_eq!(run.observations().iter().filter(|o| own(o)).count(), 1);
    let long = Prepared::of(&config, &mut run, sample(6, 20), Some(items(&"king ".repeat(200))));
    let error = long.err().unwrap().to_string();
    assert!(error.contains("wanted at most 96 tokens"), "{error}");
}

#[test]
fn later_seeds_say_what_to_set_instead() {
    let needs = ArchObjective::needs(&Config::preset(Preset::Full));
    assert_eq!((needs.data.len(), needs.threads), (3, 2));
    assert_eq!(ArchObjective::seeds(Preset::Long), 1);
}
