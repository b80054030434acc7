//! Pages on paper: black on white, without what only a screen can use, and nothing cut off.

use crate::access::PAGES;
use crate::browser::{Browser, Look};
use crate::site::{Result, Site};

/// Width of an A4 sheet between its margins, CSS pixels.
const SHEET: u32 = 680;

/// What is wrong with the page as it would be printed, in words.
const LOOK: &str = r#"
const wrong = [];
const shown = (e) => e.checkVisibility();
for (const e of document.querySelectorAll("nav, .find, button, .skip")) if (shown(e)) wrong.push(`${e.outerHTML.slice(0, 60)} is printed`);
const ground = getComputedStyle(document.body).backgroundColor;
if (ground !== "rgb(255, 255, 255)") wrong.push(`the ground is ${ground}`);
const ink = getComputedStyle(document.body).color;
if (ink !== "rgb(0, 0, 0)") wrong.push(`the ink is ${ink}`);
// Labels on the cells of a heat map are as light as their cells are dark.
for (const text of document.querySelectorAll("main svg .f-ink, main svg .f-soft")) {
  const [r, g, b] = getComputedStyle(text).fill.match(/[0-9.]+/g).map(Number);
  if (r + g + b > 400) { wrong.push(`text of a figure is rgb(${r}, ${g}, ${b})`); break; }
}
const width = document.documentElement.clientWidth;
for (const e of document.querySelectorAll("main *")) {
  const box = e.getBoundingClientRect();
  const inside = e.closest("svg") && e.localName !== "svg";
  if (shown(e) && !inside && !e.closest(".visually-hidden") && box.width > 0 && box.right > width + 1)
    { wrong.push(`${e.outerHTML.slice(0, 80)} ends at ${Math.round(box.right)} of ${width}`); break; }
}
return wrong;
"#;

async fn look(browser: &Browser, page: &str) -> Result<Vec<String>> {
    let found = browser.script(LOOK).await?;
    let words = found.as_array().ok_or("no list")?.iter().filter_map(|w| w.as_str());
    Ok(words.map(|w| format!("{page}: {w}")).collect())
}

#[tokio::test]
async fn every_page_can_be_printed() -> Result<()> {
    let site = Site::start("")?;
    let browser = Browser::open(Look { dark: true, ..Look::default() }).await?;
    let mut wrong = Vec::new();
    browser.go(&site.url("/papers/icl-gd/run")).await?;
    browser.click("button[value=start]").await?;
    browser.until("document.body.innerText.includes('not evidence')", 60).await?;
    let run = browser.script("return location.pathname").await?.as_str().unwrap_or_default().to_owned();
    let compared = format!("/compare?a={}", run.trim_start_matches("/runs/"));
    browser.print(SHEET).await?;
    for page in PAGES.iter().copied().chain([run.as_str(), compared.as_str()]) {
        browser.go(&site.url(page)).await?;
        wrong.extend(look(&browser, page).await?);
        let name = page.trim_start_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        browser.picture(&format!("print-{}", if name.is_empty() { "feed" } else { &name })).await?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
