//! Accessibility: axe-core on every type of page in both themes, reflow, the keyboard.

use serde_json::Value;

use crate::browser::{Browser, Look};
use crate::site::{Result, Site};

/// One page of every type.
pub(crate) const PAGES: [&str; 19] = [
    "/",
    "/?sort=hot&family=language",
    "/search?q=transformers",
    "/search?q=title:(",
    "/papers/icl-gd",
    "/papers/ofs",
    "/papers/roma",
    "/papers/icl-gd/run",
    "/runs",
    "/scoreboard",
    "/families/language",
    "/authors",
    "/organisations",
    "/import",
    "/data",
    "/data/minilm",
    "/ranking",
    "/about",
    "/keys",
];

fn axe() -> Result<String> {
    let path = std::env::var("REAM_AXE")
        .map_err(|_| "REAM_AXE names no script; run: cargo xtask ci packages test".to_owned())?;
    std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))
}

/// What axe finds on the page, in words; empty when it finds nothing.
pub(crate) async fn violations(browser: &Browser) -> Result<Vec<String>> {
    browser.script(&format!("{}; return 1", axe()?)).await?;
    let found = browser
        .page
        .execute_async(
            "const done = arguments[0];
             axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
                .then(r => done(r.violations), e => done([{ id: String(e), nodes: [] }]));",
            Vec::new(),
        )
        .await
        .map_err(|e| e.to_string())?;
    let list = found.as_array().cloned().unwrap_or_default();
    Ok(list.iter().map(|v| format!("{}: {}", v["id"], first_node(v))).collect())
}

fn first_node(violation: &Value) -> String {
    let node = &violation["nodes"][0];
    format!("{} {}", node["html"], node["failureSummary"])
}

async fn every_page(look: Look, theme: &str) -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(look).await?;
    let mut wrong = Vec::new();
    for page in PAGES {
        browser.go(&site.url(page)).await?;
        wrong.extend(violations(&browser).await?.into_iter().map(|v| format!("{page} ({theme}): {v}")));
        let name = page.trim_start_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        browser.picture(&format!("{theme}-{}", if name.is_empty() { "feed" } else { &name })).await?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[tokio::test]
async fn axe_finds_nothing_in_the_light() -> Result<()> {
    every_page(Look::default(), "light").await
}

#[tokio::test]
async fn axe_finds_nothing_in_the_dark() -> Result<()> {
    let look = Look { dark: true, ..Look::default() };
    every_page(look, "dark").await
}

#[tokio::test]
async fn pages_reflow_at_320_pixels() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look { width: 320, height: 900, ..Look::default() }).await?;
    let mut wrong = Vec::new();
    for page in PAGES {
        browser.go(&site.url(page)).await?;
        let width = browser.script("return document.documentElement.scrollWidth").await?;
        if width.as_u64().is_none_or(|w| w > 320) {
            wrong.push(format!("{page} is {width} pixels wide"));
        }
        let name = page.trim_start_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        browser.picture(&format!("narrow-{}", if name.is_empty() { "feed" } else { &name })).await?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Where the focus is: tag, and what it is called.
async fn focused(browser: &Browser) -> Result<String> {
    let value = browser
        .script(
            "const e = document.activeElement;
             return e.tagName + ' ' + (e.getAttribute('href') || e.name || e.id || e.textContent.trim().slice(0, 40))",
        )
        .await?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// Presses Tab until the focus is on what is wanted.
pub(crate) async fn tab_to(browser: &Browser, wanted: &str) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..200 {
        browser.keys("\u{e004}").await?;
        let here = focused(browser).await?;
        if here.contains(wanted) {
            return Ok(());
        }
        seen.push(here);
    }
    Err(format!("Tab never reaches {wanted}; it went {}", seen.join(" > ")))
}

#[tokio::test]
async fn a_run_is_started_and_read_with_the_keyboard_alone() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look::default()).await?;
    browser.go(&site.url("/papers/icl-gd")).await?;
    tab_to(&browser, "/papers/icl-gd/run").await?;
    browser.keys("\u{e007}").await?;
    browser.until("location.pathname.endsWith('/run')", 10).await?;
    tab_to(&browser, "BUTTON action").await?;
    browser.keys("\u{e007}").await?;
    browser.until("location.pathname.startsWith('/runs/')", 20).await?;
    browser.until("document.body.innerText.includes('not evidence')", 60).await
}

#[tokio::test]
async fn letters_move_through_the_feed_and_can_be_switched_off() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look::default()).await?;
    browser.go(&site.url("/")).await?;
    browser.keys("j").await?;
    let first = focused(&browser).await?;
    browser.keys("j").await?;
    let second = focused(&browser).await?;
    if !first.contains("/papers/") || !second.contains("/papers/") || first == second {
        return Err(format!("j went to {first}, then {second}"));
    }
    browser.keys("k").await?;
    if focused(&browser).await? != first {
        return Err("k did not go back".to_owned());
    }
    browser.keys("o").await?;
    browser.until("location.pathname.startsWith('/papers/')", 10).await?;
    browser.keys("/").await?;
    if !focused(&browser).await?.contains('q') {
        return Err(format!("/ went to {}", focused(&browser).await?));
    }
    browser.go(&site.url("/keys")).await?;
    browser.click("#keys-switch input").await?;
    browser.go(&site.url("/")).await?;
    browser.keys("j").await?;
    if focused(&browser).await?.contains("/papers/") {
        return Err("j still moves although the keys are switched off".to_owned());
    }
    Ok(())
}
