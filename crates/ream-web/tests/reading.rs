//! The reading pages over a temporary store: what they answer, how they are built, what they refuse.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use ream_catalog::import::{Format, Limits, import};
use ream_catalog::{Author, Catalog, Link, Record, Source, Store};
use ream_lab::{Build, Edition, Runs};
use ream_web::{Options, Site};
use tower::ServiceExt;

const HOST: &str = "127.0.0.1:8040";
const NASTY: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>&amp;{{7*7}}";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A site with one family of the edition, three papers from elsewhere, and its folder.
async fn site() -> (Router, tempfile::TempDir) {
    site_with(Options::default()).await
}

async fn site_with(options: Options) -> (Router, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    (site_in(home.path(), options).await, home)
}

async fn site_in(home: &Path, options: Options) -> Router {
    let store = Store::open(&format!("sqlite:{}", home.join("c.db").display())).await.unwrap();
    let paper = |title: &str, arxiv: Option<&str>, author: &str| Record {
        title: title.to_owned(),
        arxiv: arxiv.map(str::to_owned),
        summary: Some(format!("An abstract about {title}.")),
        authors: vec![Author { name: author.to_owned(), affiliation: None }],
        organisations: vec!["Acme & Sons".to_owned()],
        date: Some("2024-05-01".parse().unwrap()),
        links: vec![Link { label: "code".into(), url: "javascript:alert(3)".into() }],
        votes: Some(3),
        ..Record::default()
    };
    let records = [
        paper("Plain words", Some("2405.00001"), "Ada Lovelace"),
        paper(NASTY, Some("2405.00002"), NASTY),
        paper("Without a number", None, "Ada Lovelace"),
    ];
    store.upsert(&records, &Source { kind: "jsonl".into(), name: NASTY.into() }).await.unwrap();
    let catalog = Catalog::open(store, &home.join("index"), None).await.unwrap();
    let build = Build { version: "0", commit: "", clean: false, substrate: "" };
    let site = Site {
        catalog,
        edition: Arc::new(Edition::load(vec![ream_causal::family()], build).unwrap()),
        runs: Runs::new(home.join("runs")),
        data: ream_data::Store::open(home.join("data")),
        encoder: None,
        home: home.to_owned(),
        program: PathBuf::from("ream"),
        bind: HOST.parse().unwrap(),
        options,
    };
    ream_web::router(site).await.unwrap()
}

async fn send(site: &Router, request: Request<Body>) -> Answer {
    let response = site.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", HOST)
}

async fn get(site: &Router, path: &str) -> Answer {
    send(site, request("GET", path).body(Body::empty()).unwrap()).await
}

const PAGES: [&str; 30] = [
    "/",
    "/?sort=newest",
    "/?sort=hot",
    "/?sort=top&period=month&on=2024-05-10",
    "/?sort=top-year",
    "/?sort=verified&runs=1",
    "/?sort=cheapest&family=causal",
    "/?sort=surprising&period=year&on=2024",
    "/search",
    "/search?q=plain",
    "/search?q=words&is=runs%3Ano&mode=text",
    "/search?q=zzzzzzzz",
    "/papers/lc-alpacaeval",
    "/papers/2405.00001",
    "/papers/2405.00002",
    "/scoreboard",
    "/scoreboard?all=1&kind=property&verdict=not+tested",
    "/families/causal",
    "/families/vision",
    "/authors",
    "/authors/Ada%20Lovelace",
    "/organisations",
    "/organisations/Acme%20%26%20Sons",
    "/ranking",
    "/ranking?why=lc-alpacaeval",
    "/import",
    "/data",
    "/data/minilm",
    "/about",
    "/keys",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_has_its_landmarks_and_headings_in_order() {
    let (site, _home) = site().await;
    for path in PAGES {
        let page = get(&site, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        let count = |what: &str| page.body.matches(what).count();
        for once in
            ["<html lang=\"en\">", "<main id=\"main\"", "<h1", "<title>", "class=\"skip\" href=\"#main\""]
        {
            assert_eq!(count(once), 1, "{path}: {once}");
        }
        assert!(
            count("<nav") >= 2 && count("<header class=\"top\">") == 1 && count("<footer") == 1,
            "{path}"
        );
        assert!(
            !page.body.contains(" style=") && !page.body.contains(" onclick"),
            "{path}: something inline"
        );
        let mut last = 0;
        for part in page.body.split("<h").skip(1) {
            let Some(level) = part.chars().next().and_then(|c| c.to_digit(10)) else { continue };
            assert!(level <= last + 1, "{path}: h{level} after h{last}");
            last = level;
        }
        let ids: Vec<&str> =
            page.body.split(" id=\"").skip(1).map(|p| p.split('"').next().unwrap()).collect();
        let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "{path}: ids are unique: {ids:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_text_stays_text() {
    let (site, _home) = site().await;
    let paths = PAGES.iter().copied().chain([
        "/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/?sort=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/authors/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/papers/%3Cimg%20src%3Dx%20onerror%3Dalert(2)%3E",
        "/ranking?why=%3Cscript%3E",
        "/feed.atom",
    ]);
    for path in paths {
        let page = get(&site, path).await.body;
        for raw in ["<script>alert", "<img src=x", "href=\"javascript:", "49}}"] {
            assert!(!page.contains(raw), "{path}: {raw}");
        }
    }
    assert!(get(&site, "/papers/2405.00002").await.body.contains("&#60;script&#62;alert(1)"), "it is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_one_clear_page() {
    let (site, _home) = site().await;
    let long = format!("/search?q={}", "a".repeat(801));
    for (path, status, code) in [
        ("/nothing", 404, "not_found"),
        ("/papers/nothing", 404, "not_found"),
        ("/papers/nothing.bib", 404, "not_found"),
        ("/families/nothing", 404, "not_found"),
        ("/authors/nobody", 404, "not_found"),
        ("/import/7", 404, "not_found"),
        ("/data/nothing", 404, "not_found"),
        ("/assets/nothing.css", 404, "not_found"),
        ("/?sort=best", 400, "bad_query"),
        ("/?period=decade", 400, "bad_query"),
        ("/?on=yesterday&period=day", 400, "bad_query"),
        ("/?after=nonsense", 400, "bad_cursor"),
        ("/?limit=0", 400, "bad_query"),
        ("/search?q=a&mode=magic", 400, "bad_query"),
        ("/search?q=a&is=nothing", 400, "bad_query"),
        ("/scoreboard?verdict=maybe", 400, "bad_query"),
        (long.as_str(), 400, "bad_query"),
    ] {
        let page = get(&site, path).await;
        assert_eq!(page.status.as_u16(), status, "{path}: {}", page.body);
        assert!(page.body.contains(&format!("<code>{code}</code>")), "{path}: {}", page.body);
        assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
    }
    let page = get(&site, "/search?q=year%3Asoon").await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("role=\"alert\"") && page.body.contains("year:soon"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_answers_in_json_and_refuses_with_problems() {
    let (site, _home) = site().await;
    let json = async |path: &str| -> serde_json::Value {
        let answer = get(&site, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        serde_json::from_str(&answer.body).unwrap()
    };
    let papers = json("/api/v1/papers?limit=2").await;
    assert_eq!(papers["total"], 8);
    assert_eq!(papers["items"].as_array().unwrap().len(), 2);
    let paper = json("/api/v1/papers/lc-alpacaeval").await;
    assert_eq!(paper["claims"].as_array().unwrap().len(), 6);
    assert_eq!(paper["claims"][0]["paper"], "lc-alpacaeval");
    assert!(!json("/api/v1/claims").await.as_array().unwrap().is_empty());
    assert_eq!(json("/api/v1/counts").await["papers"], 8);
    assert_eq!(json("/api/v1/search?q=plain").await["items"][0]["handle"], "2405.00001");
    assert_eq!(json("/api/v1/families").await.as_array().unwrap().len(), 9);
    assert_eq!(json("/api/v1/authors").await["items"][0]["papers"], 2);
    assert_eq!(json("/api/v1/authors/Ada%20Lovelace").await["total"], 2);
    assert_eq!(json("/api/v1/organisations/acme-sons?sort=newest").await["total"], 3);
    assert!(json("/api/v1/papers/lc-alpacaeval/similar").await.is_array());
    assert!(json("/api/v1/runs").await.is_array());
    assert_eq!(paper["system"]["command"].as_str().unwrap().split(' ').nth(2), Some("lc-alpacaeval"));
    assert!(paper["system"]["measured"].is_i64(), "{}", paper["system"]);
    let family = json("/api/v1/families/causal").await;
    assert_eq!(family["papers"].as_array().unwrap().len(), 5);
    assert_eq!(json("/api/v1/verdicts").await.as_array().unwrap().len(), 6);
    assert_eq!(json("/api/v1/ranking").await["version"], ream_catalog::ranking::VERSION);
    let reasons = json("/api/v1/papers/2405.00001/ranking").await;
    assert_eq!(reasons.as_array().unwrap().len(), ream_catalog::Sort::ALL.len());
    let system = json("/api/v1/papers/lc-alpacaeval/system").await;
    assert_eq!(system["presets"][1]["name"], "full");
    assert!(system["schema"]["properties"].is_object() && system["presets"][1]["config"].is_object());
    assert_eq!(json("/api/v1/openapi.json").await["openapi"], "3.1.0");
    for (path, status, code) in [
        ("/api/v1/nothing", 404, "not_found"),
        ("/api/v1/papers/nothing", 404, "not_found"),
        ("/api/v1/papers?sort=best", 400, "bad_query"),
        ("/api/v1/search?q=year%3Asoon", 400, "bad_query"),
        ("/api/v1/runs?limit=x", 400, "bad_query"),
        ("/api/v1/runs/nothing", 404, "not_found"),
        ("/api/v1/compare?a=x", 400, "bad_query"),
        ("/api/v1/imports/7", 404, "not_found"),
        ("/api/v1/families/nothing", 404, "not_found"),
        ("/api/v1/papers/2405.00001/system", 404, "not_found"),
    ] {
        let answer = get(&site, path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{path}");
        assert!(path.contains("year") == problem["position"].is_u64(), "{path}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_can_be_read_back_in_every_form() {
    let (site, _home) = site().await;
    let lists = [
        ("/feed", 8),
        ("/families/causal", 5),
        ("/authors/ada-lovelace", 2),
        ("/organisations/acme-sons", 3),
        ("/papers/2405.00001", 1),
        ("/papers/lc-alpacaeval", 1),
    ];
    for (path, papers) in lists {
        for ending in ["bib", "ris", "csl.json", "jsonl", "csv", "atom", "json"] {
            let answer = get(&site, &format!("{path}.{ending}")).await;
            assert_eq!(answer.status, 200, "{path}.{ending}: {}", answer.body);
            assert_eq!(read(&answer.body), papers, "{path}.{ending}: {}", answer.body);
        }
    }
    let found = get(&site, "/search.jsonl?q=%22plain%20words%22").await;
    assert_eq!(read(&found.body), 1);
    let atom = get(&site, "/feed.atom").await.body;
    assert!(atom.contains(&format!("http://{HOST}/papers/2405.00001")), "feeds hold whole addresses: {atom}");
    let paged = get(&site, "/feed.jsonl?limit=3").await.body;
    assert_eq!(read(&paged), 3);
}

fn read(text: &str) -> usize {
    let mut records = 0;
    let head = &text.as_bytes()[..text.len().min(4096)];
    Format::detect(head).unwrap();
    import(text.as_bytes(), None, &Limits::default(), &mut |item| item.map(|_| records += 1)).unwrap();
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_the_pages_meets_every_paper_once() {
    let (site, _home) = site().await;
    let mut path = "/?sort=newest&limit=3".to_owned();
    let mut met = Vec::new();
    for _ in 0..10 {
        let page = get(&site, &path).await.body;
        let links =
            page.split("<h2><a href=\"/papers/").skip(1).map(|p| p.split('"').next().unwrap().to_owned());
        met.extend(links);
        let Some(next) = page.split("<a href=\"").find(|p| p.contains("rel=\"next\">Next page")) else {
            break;
        };
        path = next.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
    }
    let distinct: std::collections::BTreeSet<&String> = met.iter().collect();
    assert_eq!((met.len(), distinct.len()), (8, 8), "{met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_ever_and_head_has_no_body() {
    let (site, _home) = site().await;
    let page = get(&site, "/").await.body;
    let css =
        page.split("href=\"").find(|p| p.starts_with("/assets/ream-")).unwrap().split('"').next().unwrap();
    let asset = get(&site, css).await;
    assert_eq!(asset.status, 200);
    assert_eq!(asset.header("content-type"), "text/css; charset=utf-8");
    assert!(asset.header("cache-control").contains("immutable"));
    let again = request("GET", css).header("if-none-match", asset.header("etag"));
    let again = send(&site, again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""));
    for path in PAGES {
        let head = send(&site, request("HEAD", path).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(get(&site, "/healthz").await.body, "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_merged_and_listed() {
    let (site, _home) = site().await;
    let form = get(&site, "/import").await;
    let cookie = form.header("set-cookie").split(';').next().unwrap().to_owned();
    let token =
        form.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(get(&site, "/").await.body.contains("Plain words"), "the feed is kept for a moment from here on");
    let file = "@misc{a, title = {Plain words}, eprint = {2405.00001}, archivePrefix = {arXiv}, doi = {10.1/x}}\n\
                @misc{b, title = {Fresh from a file}, year = 2031}\n@misc{c, title = }\n";
    let part =
        |head: &str, body: &str| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let body =
        part("name=\"csrf\"", &token) + &part("name=\"file\"; filename=\"refs.bib\"", file) + "--XX--\r\n";
    let post = request("POST", "/import")
        .header("cookie", &cookie)
        .header("origin", format!("http://{HOST}"))
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "multipart/form-data; boundary=XX");
    let answer = send(&site, post.body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let report = answer.header("location").to_owned();
    let mut page = String::new();
    for _ in 0..200 {
        page = get(&site, &report).await.body;
        if page.contains("The import has ended") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for line in [
        "<span class=\"big\">1</span> added",
        "<span class=\"big\">1</span> merged",
        "<span class=\"big\">1</span> left out",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(get(&site, "/").await.body.contains("Fresh from a file"));
    assert!(get(&site, "/search?q=fresh").await.body.contains("/papers/t-"));
    let number = report.rsplit('/').next().unwrap();
    let data = get(&site, &format!("/api/v1/imports/{number}")).await.body;
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!((&data["added"], &data["bad"], &data["done"]), (&1.into(), &1.into(), &true.into()), "{data}");
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    tag.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_announces_its_feeds_and_they_are_there() {
    let (site, _home) = site().await;
    for list in [
        "/",
        "/?sort=hot&family=causal",
        "/search?q=plain",
        "/papers/lc-alpacaeval",
        "/scoreboard",
        "/scoreboard?all=1&kind=finding&verdict=not+tested",
        "/families/causal",
        "/authors",
        "/authors/Ada%20Lovelace",
        "/organisations",
        "/organisations/acme-sons",
        "/runs",
        "/runs?state=finished",
    ] {
        let page = get(&site, list).await.body;
        let head = page.split("</head>").next().unwrap();
        let links: Vec<&str> = head.split("<link rel=\"alternate\"").skip(1).collect();
        for wanted in ["application/atom+xml", "application/feed+json"] {
            let link = links.iter().find(|link| attribute(link, "type") == wanted);
            let link = link.unwrap_or_else(|| panic!("{list} announces no {wanted}: {head}"));
            let href = attribute(link, "href").replace("&#38;", "&").replace("&amp;", "&");
            let feed = get(&site, &href).await;
            assert_eq!(feed.status, 200, "{list}: {href}: {}", feed.body);
            assert!(feed.header("content-type").starts_with(wanted), "{href}");
            if wanted == "application/feed+json" {
                let feed: serde_json::Value = serde_json::from_str(&feed.body).unwrap();
                assert_eq!(feed["version"], "https://jsonfeed.org/version/1.1", "{href}");
            } else {
                assert!(feed.body.starts_with("<?xml") && feed.body.contains("<updated>"), "{href}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_names_are_entries_of_feeds() {
    let (site, _home) = site().await;
    let feed = async |path: &str| -> serde_json::Value {
        serde_json::from_str(&get(&site, path).await.body).unwrap()
    };
    let claims = feed("/scoreboard.json?all=1&family=causal").await;
    let claims = claims["items"].as_array().unwrap();
    let listed: serde_json::Value =
        serde_json::from_str(&get(&site, "/api/v1/claims?all=1&family=causal").await.body).unwrap();
    assert_eq!(claims.len(), listed.as_array().unwrap().len(), "an entry a claim");
    let one = claims.iter().find(|c| c["id"] == "urn:ream:claim:lc-alpacaeval:c1").unwrap();
    assert_eq!(one["url"], format!("http://{HOST}/papers/lc-alpacaeval#c1"));
    let result: serde_json::Value =
        serde_json::from_str(include_str!("../../../papers/causal/results/lc-alpacaeval.json")).unwrap();
    let verdict = result["verdicts"]["c1"].as_str().unwrap();
    assert!(one["title"].as_str().unwrap().ends_with(verdict), "{one}");
    assert!(one["date_modified"].as_str().unwrap().starts_with(result["date"].as_str().unwrap()), "{one}");
    let dates: Vec<&str> = claims.iter().map(|c| c["date_modified"].as_str().unwrap()).collect();
    assert!(dates.is_sorted_by(|a, b| a >= b), "{dates:?}");

    let authors = feed("/authors.json").await;
    let ada = authors["items"].as_array().unwrap().iter().find(|a| a["id"] == "urn:ream:author:ada-lovelace");
    assert_eq!(ada.unwrap()["title"], "Ada Lovelace: 2 papers");
    assert!(
        get(&site, "/organisations.atom").await.body.contains("<id>urn:ream:organisation:acme-sons</id>")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_has_is_not_sent_again() {
    let (site, _home) = site().await;
    let again = async |path: &str, tag: &str| {
        send(&site, request("GET", path).header("if-none-match", tag).body(Body::empty()).unwrap()).await
    };
    for path in [
        "/",
        "/scoreboard",
        "/about",
        "/feed.atom",
        "/feed.jsonl",
        "/scoreboard.json",
        "/papers/2405.00001.bib",
        "/api/v1/papers",
        "/api/v1/openapi.json",
    ] {
        let first = get(&site, path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
        let second = again(path, &tag).await;
        assert_eq!((second.status.as_u16(), second.body.as_str()), (304, ""), "{path}");
        assert_eq!(second.header("etag"), tag, "{path}");
        assert_eq!(again(path, "W/\"other\"").await.status, 200, "{path}");
    }
    for path in ["/feed.atom", "/scoreboard.atom", "/authors.json", "/papers/2405.00001.ris"] {
        assert!(get(&site, path).await.header("last-modified").ends_with(" GMT"), "{path}");
    }
    // What carries a nonce or a token is made anew each time.
    for path in ["/papers/lc-alpacaeval", "/import"] {
        let page = get(&site, path).await;
        assert!(page.body.contains("nonce=\"") || page.body.contains("name=\"csrf\""), "{path}");
        assert_eq!(page.header("etag"), "", "{path}");
    }
    assert_eq!(again("/nothing", "*").await.status, 404, "an error is no answer that one has");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_packed_where_readers_are_far() {
    let elsewhere = Options { hosts: vec!["papers.example".into()], ..Options::default() };
    let (far, _home) = site_with(elsewhere).await;
    let (near, _home) = site().await;
    let ask = async |site: &Router, host: &str| {
        let asked = Request::get("/").header("host", host).header("accept-encoding", "gzip");
        let response = site.clone().oneshot(asked.body(Body::empty()).unwrap()).await.unwrap();
        let packed = response.headers().get("content-encoding").is_some_and(|v| v == "gzip");
        let bytes = axum::body::to_bytes(response.into_body(), 16 << 20).await.unwrap();
        (packed, bytes.len())
    };
    let (packed, small) = ask(&far, "papers.example").await;
    let (plain, large) = ask(&near, HOST).await;
    assert!(packed && !plain && 2 * small < large, "{small} of {large}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paper_lacks_can_be_fetched_from_its_page() {
    let (site, _home) = site().await;
    let page = get(&site, "/papers/lc-alpacaeval").await.body;
    assert!(page.contains("<code>ream data fetch alpaca-leaderboard</code>"), "{page}");
    let form = page.split("action=\"/data/alpaca-leaderboard/fetch\"").nth(1).unwrap();
    assert!(form.split("</form>").next().unwrap().contains("name=\"csrf\" value=\""), "{form}");
    let search = get(&site, "/search?q=plain").await.body;
    assert!(search.contains("action=\"/data/minilm/fetch\""), "{search}");
    let all: serde_json::Value = serde_json::from_str(&get(&site, "/api/v1/data").await.body).unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), ream_data::all().len());
    let leaderboard = all.iter().find(|row| row["id"] == "alpaca-leaderboard").unwrap();
    assert_eq!(leaderboard["papers"], serde_json::json!(["lc-alpacaeval"]));

    let elsewhere = Options { hosts: vec!["papers.example".into()], ..Options::default() };
    let (far, _home) = site_with(elsewhere).await;
    for path in ["/papers/lc-alpacaeval", "/search?q=plain", "/data", "/data/minilm"] {
        let page = get(&far, path).await.body;
        assert!(!page.contains("/fetch\""), "{path}: no button where nothing can be fetched: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_try_first_runs_without_a_download() {
    let home = tempfile::tempdir().unwrap();
    let lacking = site_in(home.path(), Options::default()).await;
    let feed = get(&lacking, "/").await.body;
    assert!(!feed.contains("Try one first"), "every paper of this family needs data: {feed}");
    // A data set counts as fetched when its file has the right size.
    let set = ream_data::get("alpaca-leaderboard").unwrap();
    let file = home.path().join("data").join(&set.id).join(&set.files[0].name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, vec![b'x'; usize::try_from(set.files[0].bytes).unwrap()]).unwrap();
    let site = site_in(home.path(), Options::default()).await;
    let feed = get(&site, "/").await.body;
    assert!(
        feed.contains("<a href=\"/papers/lc-alpacaeval/run\">") && feed.contains("ream run lc-alpacaeval")
    );
    assert!(get(&site, "/about").await.body.contains("<code>ream run lc-alpacaeval</code>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_left_open_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let next = |page: &str| {
        let link = page.split("<a href=\"").find(|part| part.contains("rel=\"next\">Next page"));
        link.map(|link| link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
    };
    let lists = ["/search?q=an&mode=text&limit=1", "/?sort=newest&limit=1"];
    let mut left = Vec::new();
    {
        let site = site_in(home.path(), Options::default()).await;
        for list in lists {
            left.push(next(&get(&site, list).await.body).unwrap());
        }
    }
    // The site was started again meanwhile: it does not know the index that the hits were counted in.
    let site = site_in(home.path(), Options::default()).await;
    let search = get(&site, &left[0]).await;
    assert_eq!(search.status, 200, "{}", search.body);
    assert!(search.body.contains("a hit may appear twice or be missed"), "{}", search.body);
    assert!(search.body.contains("<h2><a href=\"/papers/") && search.body.contains("First page"));
    let feed = get(&site, &left[1]).await;
    assert!(feed.status == 200 && feed.body.contains("<h2><a href=\"/papers/"), "{}", feed.body);
    // A cursor that is cut, or of another list, is no page, and no failure of the site.
    for wrong in [
        left[0].replace("q=an", "q=paper"),
        format!("{}x", left[1]),
        left[1].replace("sort=newest", "sort=hot"),
        "/authors?after=nonsense".to_owned(),
    ] {
        let page = get(&site, &wrong).await;
        assert_eq!(page.status, 400, "{wrong}: {}", page.body);
        assert!(page.body.contains("This page of the list is not here"), "{wrong}: {}", page.body);
        assert!(page.body.contains("bad_cursor"), "{wrong}");
    }
}
