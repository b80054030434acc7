//! The index against a search that looks at every paper, on small random collections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::analysis::{stemmed, words};
use super::collect::{FACETS, Harvest, Keys, Pass, Ranking};
use super::compile::Compiler;
use super::execute::{FUSION_K, Outcome, Request, Snapshot, execute};
use super::index::TextIndex;
use super::query::{Form, Node, TextField, parse};
use super::schema::{Document, key};
use super::vectors::{Quantised, Vectors};
use super::{Mode, VERDICTS};

const WORDS: [&str; 10] =
    ["alpha", "bravo", "kappas", "lambda", "omicron", "sigma", "thetic", "upsilon", "quark", "zebu"];
const FAMILIES: [&str; 3] = ["language", "causal", "vision"];
const DIMENSIONS: usize = 8;

fn text(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..most).prop_map(|words| words.join(" "))
}

fn texts(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(5), 0..most)
        .prop_map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
}

prop_compose! {
    fn paper()(
        title in text(5),
        texts in texts(3),
        authors in texts(3),
        organisations in prop::collection::btree_set(prop::sample::select(&WORDS[..]), 0..3),
        family in prop::option::of(prop::sample::select(&FAMILIES[..])),
        topics in prop::collection::btree_set(prop::sample::select(&WORDS[..]), 0..2),
        claims in texts(3),
        verdicts in prop::collection::btree_set(prop::sample::select(&VERDICTS[..]), 0..3),
        year in prop::option::of(2018_u16..2025),
        minutes in prop::option::of(0.0_f64..5.0),
    ) -> Document {
        let owned = |set: BTreeSet<&str>| set.into_iter().map(String::from).collect();
        Document {
            handle: String::new(),
            title,
            texts,
            authors,
            organisations: owned(organisations),
            family: family.map(String::from),
            topics: owned(topics),
            claims,
            verdicts: owned(verdicts),
            year,
            runs: minutes.is_some(),
            minutes,
            arxiv: None,
        }
    }
}

/// Papers with handles, some of them written twice.
fn papers() -> impl Strategy<Value = Vec<Document>> {
    prop::collection::vec((0..30_u32, paper()), 0..40).prop_map(|papers| {
        papers.into_iter().map(|(n, paper)| Document { handle: format!("p{n:02}"), ..paper }).collect()
    })
}

fn latest(papers: &[Document]) -> BTreeMap<String, Document> {
    papers.iter().map(|paper| (paper.handle.clone(), paper.clone())).collect()
}

fn indexed(papers: &[Document]) -> TextIndex {
    let mut index = TextIndex::in_memory().unwrap();
    for (change, part) in papers.chunks(7).enumerate() {
        index.put(part.iter().map(|paper| (paper, &[][..]))).unwrap();
        index.commit(change as i64).unwrap();
    }
    index
}

fn snapshot(papers: &[Document], vectors: Vectors) -> Snapshot {
    let index = indexed(papers);
    Snapshot { id: 0, searcher: index.searcher(), fields: index.fields(), vectors }
}

fn leaf() -> impl Strategy<Value = String> {
    let word = || prop::sample::select(&WORDS[..]);
    let field =
        prop::sample::select(vec!["", "", "", "title:", "abstract:", "author:", "org:", "topic:", "claim:"]);
    let value = prop_oneof![
        4 => word().prop_map(String::from),
        2 => prop::collection::vec(word(), 1..3).prop_map(|words| format!("\"{}\"", words.join(" "))),
        1 => (word(), word()).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (word(), 1..4_usize).prop_map(|(word, n)| format!("{}*", &word[..n])),
    ];
    prop_oneof![
        6 => (field, value).prop_map(|(field, value)| format!("{field}{value}")),
        1 => (2017_u16..2026, 0_u16..4).prop_map(|(a, n)| format!("year:{a}..{}", a + n)),
        1 => (2017_u16..2026).prop_map(|a| format!("year:..{a}")),
        1 => prop::sample::select(&VERDICTS[..]).prop_map(|v| format!("verdict:{}", v.replace(' ', "-"))),
        1 => prop::sample::select(vec!["runs:yes", "runs:no", "runs:<2min", "runs:>=90s", "runs:1..3"])
            .prop_map(String::from),
        1 => prop::sample::select(&FAMILIES[..]).prop_map(|f| format!("family:{f}")),
    ]
}

fn query() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND NOT {b})")),
            inner.prop_map(|part| format!("(NOT {part})")),
        ]
    })
}

fn stems(text: &str) -> Vec<String> {
    words(&mut stemmed(), text).into_iter().map(|token| token.text).collect()
}

/// Whether a paper meets a query, by looking.
fn meets(paper: &Document, node: &Node) -> bool {
    match node {
        Node::Everything => true,
        Node::Text { field, text, form, .. } => {
            fields(paper, *field).iter().any(|value| has(value, text, *form))
        }
        Node::Year { from, until } => paper.year.is_some_and(|year| {
            from.is_none_or(|a| u64::from(year) >= a) && until.is_none_or(|b| u64::from(year) <= b)
        }),
        Node::Verdict(any) => any.iter().any(|verdict| paper.verdicts.iter().any(|v| v == verdict)),
        Node::Runs(runs) => paper.runs == *runs,
        Node::Minutes { from, until } => paper.minutes.is_some_and(|m| {
            from.is_none_or(|(a, closed)| if closed { m >= a } else { m > a })
                && until.is_none_or(|(b, closed)| if closed { m <= b } else { m < b })
        }),
        Node::And(nodes) => nodes.iter().all(|node| meets(paper, node)),
        Node::Or(nodes) => nodes.iter().any(|node| meets(paper, node)),
        Node::Not(node) => !meets(paper, node),
    }
}

fn fields(paper: &Document, field: TextField) -> Vec<String> {
    let Document { title, texts, authors, organisations, family, topics, claims, .. } = paper.clone();
    match field {
        TextField::Title => vec![title],
        TextField::Abstract => texts,
        TextField::Author => authors,
        TextField::Organisation => organisations,
        TextField::Family => family.into_iter().collect(),
        TextField::Topic => topics,
        TextField::Claim => claims,
        TextField::Arxiv => Vec::new(),
        TextField::Any => {
            [vec![title], texts, authors, organisations, family.into_iter().collect(), topics, claims]
                .concat()
        }
    }
}

fn has(value: &str, text: &str, form: Form) -> bool {
    if form == Form::Prefix {
        return value.split(' ').any(|word| word.starts_with(text));
    }
    let (value, wanted) = (stems(value), stems(text));
    value.windows(wanted.len().max(1)).any(|window| window == wanted)
}

fn keys_of(handles: impl IntoIterator<Item = String>) -> BTreeSet<u64> {
    handles.into_iter().map(|handle| key(&handle)).collect()
}

fn request(text: &str, mode: Mode, limit: usize) -> Request {
    Request {
        node: parse(text).unwrap(),
        mode,
        vector: None,
        chosen: vec![Vec::new(); FACETS.len()],
        after: None,
        limit,
    }
}

/// All pages of a request, in one list.
fn walk(snapshot: &Snapshot, mut request: Request) -> Vec<(String, f32)> {
    let mut all = Vec::new();
    loop {
        let Outcome { hits, more, total, .. } = execute(snapshot, &request).unwrap();
        request.after = hits.last().map(|last| (last.rank, last.handle.clone()));
        all.extend(hits.into_iter().map(|hit| (hit.handle, hit.rank.0)));
        if !more {
            assert_eq!(all.len(), total);
            return all;
        }
    }
}

fn vector(seed: u64) -> Vec<f32> {
    let raw: Vec<f32> = (0..DIMENSIONS as u64)
        .map(|i| (key(&format!("{seed} {i}")) >> 40) as f32 / (1 << 24) as f32 - 0.5)
        .collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

#[test]
fn the_words_are_far_from_each_other() {
    for a in WORDS {
        for b in WORDS.iter().filter(|b| **b != a) {
            assert!(strsim::osa_distance(a, b) > 2 && stems(a) != stems(b), "{a} {b}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn finds_what_looking_finds(papers in papers(), queries in prop::collection::vec(query(), 8)) {
        let index = indexed(&papers);
        let (searcher, fields) = (index.searcher(), index.fields());
        let latest = latest(&papers);
        for text in queries {
            let node = parse(&text).unwrap();
            let query = Compiler::new(&fields, &searcher).query(&node).unwrap();
            let got: Vec<u64> = searcher.search(&query, &Keys).unwrap();
            let want = keys_of(latest.values().filter(|p| meets(p, &node)).map(|p| p.handle.clone()));
            prop_assert_eq!(got.len(), want.len(), "{}", text);
            prop_assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), want, "{}", text);
        }
    }

    #[test]
    fn counts_each_facet_without_its_own_choice(
        papers in papers(),
        text in query(),
        years in prop::collection::vec(2017_u16..2026, 0..3),
        families in prop::collection::vec(prop::sample::select(&FAMILIES[..]), 0..2),
        verdicts in prop::collection::vec(prop::sample::select(&VERDICTS[..]), 0..2),
    ) {
        let index = indexed(&papers);
        let (searcher, fields) = (index.searcher(), index.fields());
        let node = parse(&text).unwrap();
        let mut chosen = vec![Vec::new(); FACETS.len()];
        chosen[0] = families.iter().map(ToString::to_string).collect();
        chosen[2] = verdicts.iter().map(ToString::to_string).collect();
        chosen[4] = years.iter().map(ToString::to_string).collect();
        let pass = Pass { ranking: Ranking::Words, chosen: chosen.clone(), after: None, limit: 5, counted: true };
        let query = Compiler::new(&fields, &searcher).query(&node).unwrap();
        let Harvest { total, facets, top } = searcher.search(&query, &pass).unwrap();
        let hits: Vec<Document> = latest(&papers).into_values().filter(|paper| meets(paper, &node)).collect();
        let passes = |paper: &Document, without: usize| {
            (0..FACETS.len()).all(|facet| {
                facet == without
                    || chosen[facet].is_empty()
                    || values(paper, facet).iter().any(|value| chosen[facet].contains(value))
            })
        };
        prop_assert_eq!(total, hits.iter().filter(|paper| passes(paper, usize::MAX)).count());
        prop_assert_eq!(top.len(), total.min(5));
        for facet in 0..FACETS.len() {
            let mut want: BTreeMap<String, u64> = BTreeMap::new();
            for paper in hits.iter().filter(|paper| passes(paper, facet)) {
                values(paper, facet).into_iter().for_each(|value| *want.entry(value).or_default() += 1);
            }
            prop_assert_eq!(&facets[facet], &want.into_iter().collect::<Vec<_>>(), "{}", FACETS[facet]);
        }
    }

    #[test]
    fn pages_joined_are_the_whole_list(papers in papers(), text in query(), limit in 1_usize..6) {
        let shown = snapshot(&papers, Vectors::new(DIMENSIONS));
        let whole = walk(&shown, request(&text, Mode::Text, 1000));
        prop_assert_eq!(&walk(&shown, request(&text, Mode::Text, limit)), &whole);
        prop_assert!(whole.windows(2).all(|w| w[0].1 > w[1].1 || (w[0].1 == w[1].1 && w[0].0 < w[1].0)));
    }

    #[test]
    fn fuses_words_and_meaning_by_reciprocal_rank(
        papers in papers(),
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 1..3),
        condition in prop::sample::select(vec!["", " year:2020..", " -title:alpha"]),
        limit in 1_usize..8,
    ) {
        let text = format!("{}{condition}", words.join(" "));
        let latest = latest(&papers);
        let mut vectors = Vectors::new(DIMENSIONS);
        // Every fourth paper has no vector.
        let embedded: Vec<&String> = latest.keys().enumerate().filter(|(i, _)| i % 4 != 3).map(|(_, h)| h).collect();
        vectors.put(embedded.iter().map(|handle| (key(handle), Quantised::new(&vector(key(handle))))));
        let asked = Quantised::new(&vector(1));
        let shown = snapshot(&papers, vectors.clone());
        let with = |mode| Request { vector: Some(asked.clone()), ..request(&text, mode, limit) };
        let by_words = walk(&shown, request(&text, Mode::Text, 1000));
        let conditions = parse(&text).unwrap().conditions();
        let mut near: Vec<(String, f32)> = embedded
            .iter()
            .filter(|handle| meets(&latest[**handle], &conditions))
            .map(|handle| ((*handle).clone(), vectors.cosine(key(handle), &asked).unwrap()))
            .collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(key(&a.0).cmp(&key(&b.0))));
        let got: Vec<String> = walk(&shown, with(Mode::Meaning)).into_iter().map(|(handle, _)| handle).collect();
        prop_assert_eq!(got, near.iter().map(|(handle, _)| handle.clone()).collect::<Vec<_>>());
        let mut scores: HashMap<String, f32> = HashMap::new();
        for list in [&by_words, &near] {
            for (i, (handle, _)) in list.iter().enumerate() {
                *scores.entry(handle.clone()).or_default() += 1.0 / (FUSION_K + i as f32 + 1.0);
            }
        }
        let got = walk(&shown, with(Mode::Fused));
        prop_assert_eq!(got.len(), scores.len());
        for (handle, score) in &got {
            prop_assert!((score - scores[handle]).abs() < 1e-6);
        }
        prop_assert!(got.windows(2).all(|w| w[0].1 >= w[1].1));
    }
}

fn values(paper: &Document, facet: usize) -> Vec<String> {
    match facet {
        0 => paper.family.iter().cloned().collect(),
        1 => paper.topics.clone(),
        2 => paper.verdicts.clone(),
        3 => paper.organisations.clone(),
        4 => paper.year.iter().map(ToString::to_string).collect(),
        _ => vec![if paper.runs { "yes" } else { "no" }.into()],
    }
}

fn titled(titles: &[&str]) -> Snapshot {
    let papers: Vec<Document> = titles
        .iter()
        .enumerate()
        .map(|(i, title)| Document { handle: format!("p{i}"), title: (*title).into(), ..Document::default() })
        .collect();
    snapshot(&papers, Vectors::new(DIMENSIONS))
}

fn found(snapshot: &Snapshot, text: &str) -> (Vec<String>, Vec<String>) {
    let outcome = execute(snapshot, &request(text, Mode::Text, 10)).unwrap();
    (outcome.hits.into_iter().map(|hit| hit.handle).collect(), outcome.notes)
}

#[test]
fn mistyped_words_are_replaced_and_said() {
    let shown =
        titled(&["Transformers attend", "Latent diffusion of self-attention", "Café culture", "gpt2"]);
    for (text, hit, word) in [
        ("transfomer", "p0", "`transformers`"),
        ("tarnsformers", "p0", "`transformers`"),
        ("difusion", "p1", "`diffusion`"),
        ("self-attenton", "p1", "`attention`"),
        ("title:latnet", "p1", "`latent`"),
        ("cafè", "p2", ""),
    ] {
        let (hits, notes) = found(&shown, text);
        assert_eq!(hits, [hit], "{text}");
        assert_eq!(notes.len(), usize::from(!word.is_empty()), "{text}: {notes:?}");
        assert!(notes.iter().all(|note| note.contains(word)), "{text}: {notes:?}");
    }
    // As written: short words, words with digits, quotes, another field, far words.
    for text in ["caf", "gpt3", "\"difusion\"", "author:difusion", "transmogrified"] {
        assert_eq!(found(&shown, text), (vec![], vec![]), "{text}");
    }
}

#[test]
fn where_no_paper_has_all_words_some_are_enough() {
    let shown = titled(&["red house", "green garden", "red garden"]);
    assert_eq!(found(&shown, "red garden").0, ["p2"]);
    let (hits, notes) = found(&shown, "house garden");
    assert_eq!(hits.len(), 3);
    assert!(notes[0].contains("all of these words"), "{notes:?}");
    // A condition stays one.
    assert_eq!(found(&shown, "house garden -green").0.len(), 2);
    assert_eq!(found(&shown, "house garden title:absent").0.len(), 0);
    assert_eq!(found(&shown, "+ & ,").0.len(), 0);
    assert_eq!(found(&shown, "").0, ["p0", "p1", "p2"]);
}

#[test]
fn a_title_counts_more_than_an_abstract() {
    let mut papers = Vec::new();
    for i in 0..20 {
        let filler = Document { handle: format!("f{i}"), title: "filler".into(), ..Document::default() };
        papers.push(filler);
    }
    papers.push(Document {
        handle: "a".into(),
        title: "other".into(),
        texts: vec!["tree".into()],
        ..Document::default()
    });
    papers.push(Document {
        handle: "b".into(),
        title: "tree".into(),
        texts: vec!["other".into()],
        ..Document::default()
    });
    assert_eq!(found(&snapshot(&papers, Vectors::new(1)), "tree").0, ["b", "a"]);
}
