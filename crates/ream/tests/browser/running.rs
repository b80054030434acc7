//! Running papers from their pages.

use crate::browser::{Browser, Look};
use crate::site::{Result, Site};

async fn smoke(look: Look, name: &str) -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(look).await?;
    browser.go(&site.url("/papers/icl-gd/run")).await?;
    browser.picture(&format!("{name}-form")).await?;
    browser.click("button[value=start]").await?;
    for _ in 0..600 {
        let body = browser.text("main").await.unwrap_or_default();
        if body.contains("not evidence") && body.contains("confirmed") {
            browser.picture(&format!("{name}-verdict")).await?;
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(format!("no verdict within a minute: {:.2000}", browser.text("main").await?))
}

#[tokio::test]
async fn icl_gd_runs_from_its_page_to_the_verdict() -> Result<()> {
    smoke(Look::default(), "run").await
}

#[tokio::test]
async fn it_runs_without_scripts() -> Result<()> {
    smoke(Look { scripts: false, ..Look::default() }, "run-without-scripts").await
}

#[tokio::test]
async fn a_run_is_cancelled_and_resumed() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look::default()).await?;
    browser.go(&site.url("/papers/icl-gd/run?preset=full")).await?;
    browser.click("button[value=start]").await?;
    browser.until("location.pathname.startsWith('/runs/')", 20).await?;
    browser.until("document.querySelector(\"form[action$='/cancel'] button\")", 20).await?;
    browser.picture("run-under-way").await?;
    browser.click("form[action$='/cancel'] button").await?;
    browser.until("document.querySelector(\"form[action$='/resume'] button\")", 60).await?;
    browser.click("form[action$='/resume'] button").await?;
    browser.until("document.querySelector(\"form[action$='/cancel'] button\")", 30).await?;
    browser.click("form[action$='/cancel'] button").await?;
    browser.until("document.querySelector(\"form[action$='/resume'] button\")", 60).await
}

#[tokio::test]
async fn the_site_stops_when_told_although_a_run_is_watched() -> Result<()> {
    let mut site = Site::start("")?;
    let browser = Browser::open(Look::default()).await?;
    browser.go(&site.url("/papers/icl-gd/run?preset=full")).await?;
    browser.click("button[value=start]").await?;
    browser.until("location.pathname.startsWith('/runs/')", 20).await?;
    browser.until("document.querySelector(\"form[action$='/cancel'] button\")", 20).await?;
    let took = site.stop()?;
    if took > std::time::Duration::from_secs(11) {
        return Err(format!("stopping took {took:?}"));
    }
    let runs = site.home().join("runs");
    for run in std::fs::read_dir(&runs).map_err(|e| e.to_string())?.flatten() {
        std::fs::write(run.path().join("cancel"), "").map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn own_data_is_checked_and_run() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look::default()).await?;
    let wrong = site.home().join("wrong.csv");
    std::fs::write(&wrong, "a,b\n1,x\n").map_err(|e| e.to_string())?;
    browser.go(&site.url("/papers/ofs/run")).await?;
    browser.fill_file("input[type=file]", &wrong).await?;
    browser.click("button[value=start]").await?;
    browser.until("document.querySelector('[role=alert]')", 20).await?;
    let said = browser.text("main").await?;
    if !said.contains("wrong.csv") {
        return Err(format!("the error does not name the file: {said:.1500}"));
    }
    let good = site.home().join("loans.csv");
    std::fs::write(&good, loans()).map_err(|e| e.to_string())?;
    browser.go(&site.url("/papers/ofs/run")).await?;
    browser.fill_file("input[type=file]", &good).await?;
    browser.click("button[value=start]").await?;
    browser.until("location.pathname.startsWith('/runs/')", 30).await?;
    browser.until("document.body.innerText.includes('own data')", 60).await
}

/// A table as `ofs` takes it: a score between 0 and 1, two groups, an outcome that is likelier where the score is high.
fn loans() -> String {
    let mut text = "score,group,outcome\n".to_owned();
    for row in 0..600_u32 {
        let score = f64::from(row * 37 % 599) / 600.0;
        let group = if row % 3 == 0 { "a" } else { "b" };
        let outcome = u32::from(f64::from(row * 53 % 601) / 601.0 < 0.2 + 0.6 * score);
        text += &format!("{score},{group},{outcome}\n");
    }
    text
}
