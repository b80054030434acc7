//! Reading and searching, with scripts and without.

use crate::browser::{Browser, Look};
use crate::site::{Result, Site};

async fn read_and_search(look: Look) -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(look).await?;
    browser.go(&site.url("/")).await?;
    let feed = browser.text("main").await?;
    if !feed.contains("56") {
        return Err(format!("the feed does not say how many papers there are: {feed:.500}"));
    }
    browser.go(&site.url("/search")).await?;
    browser.fill("input[name=q]", "\"gradient descent\" verdict:confirmed\u{e007}").await?;
    for _ in 0..100 {
        if browser.text("main").await.is_ok_and(|text| text.contains("Transformers learn")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let hits = browser.text("main").await?;
    if !hits.contains("Transformers learn in-context by gradient descent") {
        return Err(format!("the search found {hits:.1000}"));
    }
    browser.click("main a[href='/papers/icl-gd']").await?;
    let paper = browser.text("main").await?;
    for wanted in ["confirmed", "not confirmed", "ream run icl-gd", "1.001"] {
        if !paper.contains(wanted) {
            return Err(format!("the paper's page lacks `{wanted}`: {paper:.3000}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_finds_a_paper_and_its_claims() -> Result<()> {
    read_and_search(Look::default()).await
}

#[tokio::test]
async fn a_reader_without_scripts_finds_the_same() -> Result<()> {
    read_and_search(Look { scripts: false, ..Look::default() }).await
}
