//! Rank classification: the option with the highest log probability after the prompt is the answer.
//!
//! Tasks have different numbers of options, so accuracies are normalised before they are averaged:
//! `(accuracy - chance) / (1 - chance)`, 0 for guessing and 1 for all right. Intervals come from resampled items; the same
//! resamples serve all models, so that differences between models are paired.

use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::items::Item;
use super::vocabulary::Vocabulary;

/// Log probability of an option, and of how many tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogProb {
    /// Nats, summed over the tokens.
    pub sum: f64,
    /// Number of tokens.
    pub tokens: usize,
}

impl LogProb {
    /// Nats for each token.
    pub fn per_token(self) -> f64 {
        self.sum / self.tokens.max(1) as f64
    }
}

/// How options are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// By the log probability of the whole option.
    Sum,
    /// By the log probability of each of its tokens.
    PerToken,
}

/// The option chosen; the first of equals. What is not a number is never chosen.
pub fn choose(options: &[LogProb], ranking: Ranking) -> usize {
    let value = |option: &LogProb| match ranking {
        Ranking::Sum => option.sum,
        Ranking::PerToken => option.per_token(),
    };
    let mut best = 0;
    for at in 1..options.len() {
        let (new, old) = (value(&options[at]), value(&options[best]));
        if new > old || (old.is_nan() && !new.is_nan()) {
            best = at;
        }
    }
    best
}

/// How a model did on the items of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// Expected accuracy of a guess.
    pub chance: f64,
    /// For each item 1 when right, 0 when wrong; between them for an average over models.
    pub correct: Vec<f64>,
}

impl TaskScore {
    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        mean(self.correct.iter().copied())
    }

    /// `(accuracy - chance) / (1 - chance)`.
    pub fn normalised(&self) -> f64 {
        normalised(self.accuracy(), self.chance)
    }
}

fn normalised(accuracy: f64, chance: f64) -> f64 {
    (accuracy - chance) / (1.0 - chance)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Grades answers, task by task in the order of the items, which stand together by task.
pub fn grade(items: &[Item], log_probs: &[Vec<LogProb>], ranking: Ranking) -> Vec<TaskScore> {
    let mut tasks: Vec<TaskScore> = Vec::new();
    for (item, options) in items.iter().zip(log_probs) {
        if tasks.last().is_none_or(|task| task.task != item.task) {
            tasks.push(TaskScore { task: item.task.clone(), chance: 0.0, correct: Vec::new() });
        }
        if let Some(task) = tasks.last_mut() {
            task.chance += item.chance();
            task.correct.push(f64::from(u8::from(choose(options, ranking) == item.answer)));
        }
    }
    for task in &mut tasks {
        task.chance /= task.correct.len() as f64;
    }
    tasks
}

/// Macro score: normalised accuracies averaged over tasks, each of which counts alike.
pub fn macro_score(tasks: &[TaskScore]) -> f64 {
    mean(tasks.iter().map(TaskScore::normalised))
}

/// The same model trained several times: right answers averaged item by item.
pub fn average(replicates: &[Vec<TaskScore>]) -> Vec<TaskScore> {
    let Some(first) = replicates.first() else { return Vec::new() };
    let mut tasks = first.clone();
    for (t, task) in tasks.iter_mut().enumerate() {
        for (i, value) in task.correct.iter_mut().enumerate() {
            *value = mean(replicates.iter().map(|replicate| replicate[t].correct[i]));
        }
    }
    tasks
}

/// Macro scores of resampled items: draw `r` takes as many items of each task as there are, with replacement. Equal for all
/// models that answered the same items, so draws of two models belong together.
pub fn macro_draws(tasks: &[TaskScore], draws: usize, stream: Stream) -> Vec<f64> {
    (0..draws)
        .map(|r| {
            mean(tasks.iter().enumerate().map(|(t, task)| {
                let mut rng = stream.child(t as u64).at(r as u64);
                let rows = rng.resample(task.correct.len());
                normalised(mean(rows.into_iter().map(|i| task.correct[i])), task.chance)
            }))
        })
        .collect()
}

/// A score with its draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The score of all items.
    pub value: f64,
    /// The scores of resampled items.
    pub draws: Vec<f64>,
}

impl Drawn {
    /// Macro score and its draws.
    pub fn of(tasks: &[TaskScore], draws: usize, stream: Stream) -> Self {
        Self { value: macro_score(tasks), draws: macro_draws(tasks, draws, stream) }
    }

    /// The highest (or lowest) of several, chosen anew in every draw. Nothing of nothing.
    pub fn extreme(of: &[&Self], highest: bool) -> Option<Self> {
        let pick = |a: f64, b: f64| if highest { a.max(b) } else { a.min(b) };
        let (first, rest) = of.split_first()?;
        let mut extreme = (*first).clone();
        for other in rest {
            extreme.value = pick(extreme.value, other.value);
            for (a, b) in extreme.draws.iter_mut().zip(&other.draws) {
                *a = pick(*a, *b);
            }
        }
        Some(extreme)
    }

    /// Ends of the percentile interval at 95 %.
    pub fn interval(&self) -> [f64; 2] {
        let mut sorted = self.draws.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (low, part) = (libm::floor(place) as usize, place - libm::floor(place));
            let high = (low + 1).min(sorted.len() - 1);
            sorted[low] + part * (sorted[high] - sorted[low])
        };
        if sorted.is_empty() { [self.value; 2] } else { [at(0.025), at(0.975)] }
    }
}

/// Log frequencies of tokens in the training text: the scorer that never looks at the prompt.
pub struct Unigram {
    log_frequency: Vec<f64>,
}

impl Unigram {
    /// Counts tokens below `size`, one added to each.
    pub fn new(tokens: &[u32], size: usize) -> Self {
        let mut counts = vec![1.0_f64; size];
        for token in tokens {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count += 1.0;
            }
        }
        let total: f64 = counts.iter().sum();
        Self { log_frequency: counts.into_iter().map(|count| libm::log(count / total)).collect() }
    }

    /// Log probabilities of all options of all items.
    pub fn log_probs(&self, items: &[Item], vocabulary: &Vocabulary) -> Vec<Vec<LogProb>> {
        let of = |option: &String| {
            let tokens = vocabulary.encode(option);
            let sum = tokens.iter().map(|token| self.log_frequency[*token as usize]).sum();
            LogProb { sum, tokens: tokens.len() }
        };
        items.iter().map(|item| item.options.iter().map(of).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Bytes;
    use super::*;

    fn score(task: &str, chance: f64, correct: Vec<f64>) -> TaskScore {
        TaskScore { task: task.to_owned(), chance, correct }
    }

    fn item(task: &str, options: usize, answer: usize) -> Item {
        Item {
            task: task.to_owned(),
            prompt: String::new(),
            options: (0..options).map(|i| "x".repeat(i + 1)).collect(),
            answer,
        }
    }

    #[test]
    fn the_likeliest_option_is_chosen_whole_or_by_token() {
        let options = [LogProb { sum: -4.0, tokens: 2 }, LogProb { sum: -6.0, tokens: 6 }];
        assert_eq!(choose(&options, Ranking::Sum), 0);
        assert_eq!(choose(&options, Ranking::PerToken), 1);
        let broken = [LogProb { sum: f64::NAN, tokens: 1 }, LogProb { sum: -9.0, tokens: 1 }];
        assert_eq!(choose(&broken, Ranking::Sum), 1);
    }

    /// A guesser has 0 on tasks of two and of four options alike: averaging accuracies would not.
    #[test]
    fn chance_is_taken_off_before_tasks_are_averaged() {
        let mut rng = Stream::new(1, "guess").at(0);
        let items: Vec<Item> = (0..8000)
            .map(|i| if i < 4000 { item("two", 2, rng.below(2)) } else { item("four", 4, rng.below(4)) })
            .collect();
        let guess: Vec<Vec<LogProb>> = items
            .iter()
            .map(|item| item.options.iter().map(|_| LogProb { sum: rng.uniform(), tokens: 1 }).collect())
            .collect();
        let tasks = grade(&items, &guess, Ranking::Sum);
        assert_eq!(tasks.iter().map(|t| t.chance).collect::<Vec<_>>(), [0.5, 0.25]);
        assert!(macro_score(&tasks).abs() < 0.03, "{}", macro_score(&tasks));
        let right = [score("two", 0.5, vec![1.0; 3]), score("four", 0.25, vec![1.0; 3])];
        assert_eq!(macro_score(&right), 1.0);
    }

    #[test]
    fn draws_of_two_models_belong_together() {
        let stream = Stream::new(2, "bootstrap");
        let mut rng = Stream::new(2, "items").at(0);
        let worse: Vec<f64> = (0..300).map(|_| f64::from(u8::from(rng.chance(0.5)))).collect();
        // Better on exactly the same items and a few more: every resample shows it.
        let better: Vec<f64> =
            worse.iter().enumerate().map(|(i, c)| if i % 20 == 0 { 1.0 } else { *c }).collect();
        let [a, b] = [worse, better].map(|c| Drawn::of(&[score("t", 0.5, c)], 500, stream));
        let differences: Vec<f64> = a.draws.iter().zip(&b.draws).map(|(a, b)| b - a).collect();
        assert!(differences.iter().all(|d| *d >= 0.0));
        // The interval is that of a binomial share, normalised: +- 2 * 1.96 sqrt(p q / n).
        let [low, high] = a.interval();
        let width = 4.0 * 1.96 * (0.25_f64 / 300.0).sqrt();
        assert!(((high - low) / width - 1.0).abs() < 0.15, "{low} {high}");
        assert!(low < a.value && a.value < high);
    }

    #[test]
    fn extremes_are_chosen_in_every_draw() {
        let a = Drawn { value: 0.2, draws: vec![0.1, 0.4] };
        let b = Drawn { value: 0.3, draws: vec![0.3, 0.2] };
        assert_eq!(Drawn::extreme(&[&a, &b], true).unwrap(), Drawn { value: 0.3, draws: vec![0.3, 0.4] });
        assert_eq!(Drawn::extreme(&[&a, &b], false).unwrap(), Drawn { value: 0.2, draws: vec![0.1, 0.2] });
        assert_eq!(Drawn::extreme(&[], true), None);
    }

    #[test]
    fn replicates_are_averaged_item_by_item() {
        let one = vec![score("t", 0.5, vec![1.0, 0.0])];
        let two = vec![score("t", 0.5, vec![1.0, 1.0])];
        assert_eq!(average(&[one, two])[0].correct, [1.0, 0.5]);
    }

    #[test]
    fn the_unigram_scorer_prefers_common_tokens() {
        let vocabulary = Vocabulary::new(Box::new(Bytes::default()), 0);
        let unigram = Unigram::new(&vocabulary.encode("aaab"), vocabulary.size());
        let mut two = item("t", 2, 0);
        two.options = vec!["a".to_owned(), "b".to_owned()];
        let scores = unigram.log_probs(&[two], &vocabulary);
        assert!(scores[0][0].sum > scores[0][1].sum);
        let total: f64 = unigram.log_frequency.iter().map(|l| libm::exp(*l)).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}
