//! Debian's Chromium, driven through its own ChromeDriver.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{Result, screenshots};

/// Flags without which Chromium asks the network for things of its own, or refuses to run as root in a container.
const FLAGS: [&str; 10] = [
    "--headless=new",
    // Scrolling that takes time would move a button away from under the click.
    "--force-prefers-reduced-motion",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser window.
pub(crate) struct Browser {
    driver: Child,
    _profile: TempDir,
    /// The window.
    pub(crate) page: Client,
}

/// A command of the browser's own, for which WebDriver has no word.
#[derive(Debug)]
struct DevTools {
    name: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.params });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// How the window looks at pages.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) dark: bool,
    pub(crate) scripts: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Default for Look {
    fn default() -> Self {
        Self { dark: false, scripts: true, width: 1200, height: 900 }
    }
}

impl Browser {
    /// Opens a window.
    pub(crate) async fn open(look: Look) -> Result<Self> {
        let port = free_port()?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| {
                format!("chromedriver: {e}; install it with: apt-get install chromium chromium-driver")
            })?;
        let profile = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut opened = Self { driver, page: connect(port, &profile, look).await?, _profile: profile };
        opened.size(look.width, look.height).await?;
        Ok(opened)
    }

    /// Sets the size of the window; narrow ones through the emulation of a device, since windows have a least width.
    pub(crate) async fn size(&mut self, width: u32, height: u32) -> Result<()> {
        self.page.set_window_size(width, height).await.map_err(|e| e.to_string())
    }

    /// Goes to an address.
    pub(crate) async fn go(&self, url: &str) -> Result<()> {
        self.page.goto(url).await.map_err(|e| format!("{url}: {e}"))
    }

    /// Clicks what a CSS selector finds first.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        let found = self.page.find(Locator::Css(selector)).await.map_err(|e| format!("{selector}: {e}"))?;
        found.click().await.map_err(|e| format!("{selector}: {e}"))
    }

    /// The text of what a CSS selector finds first.
    pub(crate) async fn text(&self, selector: &str) -> Result<String> {
        let found = self.page.find(Locator::Css(selector)).await.map_err(|e| format!("{selector}: {e}"))?;
        found.text().await.map_err(|e| format!("{selector}: {e}"))
    }

    /// Types into a field.
    pub(crate) async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let found = self.page.find(Locator::Css(selector)).await.map_err(|e| format!("{selector}: {e}"))?;
        found.clear().await.map_err(|e| format!("{selector}: {e}"))?;
        found.send_keys(text).await.map_err(|e| format!("{selector}: {e}"))
    }

    /// Puts a file into a file field.
    pub(crate) async fn fill_file(&self, selector: &str, file: &std::path::Path) -> Result<()> {
        let found = self.page.find(Locator::Css(selector)).await.map_err(|e| format!("{selector}: {e}"))?;
        found.send_keys(&file.display().to_string()).await.map_err(|e| format!("{selector}: {e}"))
    }

    /// Sends keys to whatever has the focus.
    pub(crate) async fn keys(&self, text: &str) -> Result<()> {
        // Key presses, not text for an element: a file field would take the text for a path.
        let pressed = text.chars().fold(KeyActions::new("keys".to_owned()), |keys, value| {
            keys.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.page.perform_actions(pressed).await.map_err(|e| e.to_string())
    }

    /// Lays pages out as they are printed, for a reader who wants dark pages, on paper of this width.
    pub(crate) async fn print(&self, width: u32) -> Result<()> {
        let dark = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
        let media = json!({ "media": "print", "features": dark });
        let size = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        for (name, params) in
            [("Emulation.setEmulatedMedia", media), ("Emulation.setDeviceMetricsOverride", size)]
        {
            let command = DevTools { name, params };
            self.page.issue_cmd(command).await.map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(())
    }

    /// The value of a script's `return`.
    pub(crate) async fn script(&self, script: &str) -> Result<Value> {
        self.page.execute(script, Vec::new()).await.map_err(|e| format!("{script:.60}: {e}"))
    }

    /// Waits until a script returns something true.
    pub(crate) async fn until(&self, what: &str, seconds: u64) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            if let Ok(value) = self.script(&format!("return !!({what})")).await
                && value == json!(true)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let body = self.text("body").await.unwrap_or_default();
        Err(format!("waited {seconds} s for `{what}`; the page says: {body:.2000}"))
    }

    /// Keeps a picture of the whole page where pictures are wanted.
    pub(crate) async fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = screenshots() else { return Ok(()) };
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let png = self.page.screenshot().await.map_err(|e| e.to_string())?;
        std::fs::write(folder.join(format!("{name}.png")), png).map_err(|e| e.to_string())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The whole group: a driver that is killed leaves its browser behind.
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

async fn connect(port: u16, profile: &TempDir, look: Look) -> Result<Client> {
    let mut flags: Vec<String> = FLAGS.iter().map(|f| (*f).to_owned()).collect();
    flags.push(format!("--user-data-dir={}", profile.path().display()));
    flags.push(format!("--window-size={},{}", look.width, look.height));
    if look.dark {
        flags.push("--force-dark-mode".to_owned());
        flags.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let mut options = json!({ "args": flags });
    if !look.scripts {
        options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
    }
    if look.width < 500 {
        options["mobileEmulation"] = json!({ "deviceMetrics": { "width": look.width, "height": look.height, "pixelRatio": 1.0, "mobile": false, "touch": false } });
    }
    let capabilities: serde_json::Map<String, Value> = [
        ("browserName".to_owned(), json!("chrome")),
        ("goog:chromeOptions".to_owned(), options),
        ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
    ]
    .into_iter()
    .collect();
    let mut last = String::new();
    for _ in 0..100 {
        match ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
        {
            Ok(client) => return Ok(client),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("chromedriver: {last}"))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}
