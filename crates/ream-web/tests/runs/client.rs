//! A site on a real listener, and a client that speaks plain HTTP to it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ream_catalog::{Catalog, Embedder, Store};
use ream_lab::{Edition, Runs};
use ream_web::{Options, RunLimits, Site};
use tokio::sync::oneshot;

/// A site that answers until it goes.
pub struct Served {
    pub address: SocketAddr,
    pub home: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Limits that let one run go at once.
pub fn limits() -> RunLimits {
    RunLimits { at_once: 1, queue: 2, minutes: 60.0, memory_mib: 4000 }
}

/// A sentence encoder to which every text means the same.
struct Same;

impl Embedder for Same {
    fn name(&self) -> &'static str {
        "same"
    }

    fn dimensions(&self) -> usize {
        16
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        Ok(texts.iter().map(|_| vec![0.25; 16]).collect())
    }
}

/// Finds [`Same`] where the data set [`ENCODER`] has been fetched.
fn find_encoder(home: &Path) -> Option<Arc<dyn Embedder>> {
    let found = ream_data::Store::open(home.join("data")).path(ENCODER);
    found.ok().map(|_| Arc::new(Same) as _)
}

/// The data set whose presence stands for the encoder's: one of a single file.
pub const ENCODER: &str = "alpaca-leaderboard";

/// The parts of a site whose files are below `home`.
pub async fn site(home: &Path, edition: Arc<Edition>, bind: SocketAddr) -> Site {
    let store = Store::open(&format!("sqlite:{}", home.join("catalogue.db").display())).await.unwrap();
    let catalog = Catalog::open(store, &home.join("index"), None).await.unwrap();
    let place = home.to_owned();
    Site {
        catalog,
        edition,
        runs: Runs::new(home.join("runs")),
        data: ream_data::Store::open(home.join("data")),
        encoder: Some(Arc::new(move || Ok(find_encoder(&place)))),
        home: home.to_owned(),
        program: std::env::current_exe().unwrap(),
        bind,
        options: Options { hosts: Vec::new(), upload_mib: 1, runs: limits() },
    }
}

impl Served {
    pub fn new(home: &Path, edition: Arc<Edition>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, address) = std::sync::mpsc::channel();
        let folder = home.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                told.send(address).unwrap();
                let site = site(&folder, edition, address).await;
                let stop = async {
                    let _ = stopped.await;
                };
                ream_web::serve(site, listener, stop).await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        Self { address, home: home.to_owned(), stop: Some(stop), thread: Some(thread) }
    }

    /// One that runs in a process of its own.
    pub fn elsewhere(home: &Path) -> (Self, std::process::Child) {
        Self::elsewhere_with(home, &std::env::var("PATH").unwrap())
    }

    /// The same with programs of its own before all others.
    pub fn elsewhere_with(home: &Path, path: &str) -> (Self, std::process::Child) {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.env("PATH", path);
        let mut child = command.arg("site").arg(home).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        (Self { address, home: home.to_owned(), stop: None, thread: None }, child)
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Asks it to stop.
    pub fn tell_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        try_ask(self.address, method, path, headers, body).unwrap()
    }

    /// A page's token and the cookie that it belongs to.
    pub fn consent(&self) -> Consent {
        let answer = self.get("/papers/probe/run");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let text = answer.text();
        let token = text.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(token.len(), 64);
        Consent { cookie: cookie.split(';').next().unwrap().to_owned(), token: token.to_owned() }
    }

    /// Posts a form of plain fields.
    pub fn post(&self, consent: &Consent, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = format!("csrf={}", consent.token);
        for (name, value) in fields {
            let _ = write!(body, "&{name}={value}");
        }
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", &consent.cookie)];
        self.ask("POST", path, &headers, body.as_bytes())
    }

    /// Posts the form of a run; a file is `(name, bytes)`.
    pub fn submit(&self, consent: &Consent, fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Answer {
        let (kind, body) = multipart(&consent.token, fields, file);
        self.ask("POST", "/papers/probe/run", &[("content-type", &kind), ("cookie", &consent.cookie)], &body)
    }

    /// Starts a run; gives its name.
    pub fn start(&self, consent: &Consent, fields: &[(&str, &str)]) -> String {
        let all: Vec<(&str, &str)> = fields.iter().copied().chain([("action", "start")]).collect();
        let answer = self.submit(consent, &all, None);
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").unwrap().strip_prefix("/runs/").unwrap().to_owned()
    }

    /// Waits until a run's page says so.
    pub fn wait(&self, id: &str, state: &str) -> String {
        let wanted = format!("<strong id=\"state\">{state}</strong>");
        let begun = Instant::now();
        loop {
            let page = self.page(&format!("/runs/{id}"));
            if page.contains(&wanted) {
                return page;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "waited for {state}: {page}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// A site in a process of its own, which writes its address to standard output.
pub fn serve_for_ever(home: &Path) -> ! {
    let site = Served::new(home, crate::probe::edition(false));
    println!("{}", site.address);
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// What a form needs to be taken.
#[derive(Clone)]
pub struct Consent {
    pub cookie: String,
    pub token: String,
}

/// A form with its token first.
pub fn multipart(token: &str, fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> (String, Vec<u8>) {
    let boundary = "----probe7MA4YWxk";
    let mut body = Vec::new();
    for (name, value) in [("csrf", token)].iter().chain(fields) {
        write!(body, "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .unwrap();
    }
    if let Some((name, bytes)) = file {
        let name = name.replace('"', "%22").replace('\n', "%0A");
        write!(body, "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/csv\r\n\r\n").unwrap();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    write!(body, "--{boundary}--\r\n").unwrap();
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Asks once, on a connection of its own; an answer that is cut short is an error.
pub fn try_ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if headers.iter().all(|(name, _)| *name != "host") {
        let _ = write!(head, "Host: {to}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method != "GET" {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    // A site that refuses by the head alone may close before it has read the rest.
    let _ = stream.write_all(body);
    read(stream)
}

/// Reads an answer to its end.
pub fn read(stream: TcpStream) -> std::io::Result<Answer> {
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(cut)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(cut());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let mut body = Vec::new();
    if find("transfer-encoding").is_some_and(|v| v == "chunked") {
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(cut());
            }
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| cut())?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = find("content-length").and_then(|v| v.parse().ok()) {
        body = vec![0; length];
        reader.read_exact(&mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(Answer { status, headers, body })
}
