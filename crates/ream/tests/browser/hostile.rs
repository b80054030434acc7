//! Texts that try to run scripts, in everything a page shows: nothing runs.

use serde_json::json;

use crate::browser::{Browser, Look};
use crate::site::{Result, Site};

/// Ways to make a browser run something, each put into places that pages show. The mark is what they would set.
const SHAPES: [&str; 25] = [
    "<script>MARK</script>",
    "</script><script>MARK</script>",
    "<img src=x onerror=MARK>",
    "<svg onload=MARK>",
    "<svg><script>MARK</script></svg>",
    "\"><script>MARK</script>",
    "' onmouseover='MARK",
    "\" onfocus=\"MARK\" autofocus=\"",
    "<iframe srcdoc='<script>MARK</script>'>",
    "<a href=\"javascript:MARK\">x</a>",
    "<details open ontoggle=MARK>",
    "<body onload=MARK>",
    "<math><mtext></p><img src onerror=MARK>",
    "<style>@import 'javascript:MARK'</style>",
    "<object data=\"javascript:MARK\">",
    "<embed src=\"javascript:MARK\">",
    "<form action=\"javascript:MARK\"><button>x</button></form>",
    "<meta http-equiv=refresh content=\"0;url=javascript:MARK\">",
    "<base href=\"javascript:MARK//\">",
    "<input onfocus=MARK autofocus>",
    "<video><source onerror=MARK></video>",
    "<template><script>MARK</script></template>",
    "&lt;script&gt;MARK&lt;/script&gt;",
    "<noscript><p title=\"</noscript><img src=x onerror=MARK>\">",
    "{{constructor.constructor('MARK')()}}<!--><script>MARK</script>-->",
];

/// Where a text is put.
const PLACES: [&str; 6] = ["title", "abstract", "author", "organisation", "topic", "venue"];

/// One paper for each shape and place: 150.
fn papers() -> String {
    let mut lines = String::new();
    for (s, shape) in SHAPES.iter().enumerate() {
        for (p, place) in PLACES.iter().enumerate() {
            let hostile = shape.replace("MARK", "window.ran=1");
            let pick = |name: &str, plain: String| if *place == name { hostile.clone() } else { plain };
            let record = json!({
                "title": pick("title", format!("Plain title {s} {p}")),
                "abstract": pick("abstract", "A plain abstract about hostility.".to_owned()),
                "arxiv": format!("2401.{:05}", 100 * s + p),
                "authors": [{ "name": pick("author", "Ada Lovelace".to_owned()) }],
                "organisations": [pick("organisation", "Analytical Engines".to_owned())],
                "topics": [pick("topic", "cs.CR".to_owned())],
                "venue": pick("venue", "Proceedings".to_owned()),
                "date": format!("2024-01-{:02}", 1 + s),
                "links": [{ "label": hostile, "url": "https://example.org/" }],
            });
            lines += &format!("{record}\n");
        }
    }
    lines
}

#[tokio::test]
async fn a_hundred_and_fifty_hostile_texts_run_nothing() -> Result<()> {
    let site = Site::start(&papers())?;
    let browser = Browser::open(Look::default()).await?;
    let mut pages: Vec<String> =
        ["/", "/?sort=hot", "/authors", "/organisations", "/search?q=hostility", "/search?q=plain"]
            .map(str::to_owned)
            .to_vec();
    for shape in 0..SHAPES.len() {
        pages.extend((0..PLACES.len()).map(|place| format!("/papers/2401.{:05}", 100 * shape + place)));
    }
    pages.extend(SHAPES.iter().map(|shape| format!("/search?q={}", percent(shape))));
    for page in pages {
        browser.go(&site.url(&page)).await?;
        let ran = browser.script("return window.ran === undefined && document.querySelectorAll('[onerror], [onload], [onfocus], [ontoggle], [onmouseover], iframe, object, embed, base').length === 0").await?;
        if ran != json!(true) {
            return Err(format!("{page}: a text became part of the page"));
        }
    }
    Ok(())
}

/// Everything but letters and digits as `%XX`.
fn percent(text: &str) -> String {
    let byte =
        |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.replace("MARK", "window.ran=1").bytes().map(byte).collect()
}
