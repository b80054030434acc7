//! A PostgreSQL server of this test binary alone, in a temporary directory, gone when the binary ends.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server. It listens on a socket in its own directory and on no port.
pub(crate) struct Server {
    dir: PathBuf,
    binaries: PathBuf,
    account: Option<Account>,
    process: Option<Child>,
}

/// `initdb` and `postgres` refuse to run as root: then the system's account `postgres` runs them.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Server {
    pub(crate) fn start() -> Self {
        let binaries = binaries();
        let account = account();
        let dir = tempfile::Builder::new().prefix("ream-pg-").tempdir().unwrap().keep();
        if let Some(account) = account {
            chown(&dir, Some(account.user), Some(account.group)).unwrap();
            std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        }
        let mut server = Self { dir, binaries, account, process: None };
        server.watch();
        let data = server.data();
        server.run(
            "initdb",
            [
                OsStr::new("-D"),
                data.as_os_str(),
                "-U".as_ref(),
                "ream".as_ref(),
                "-A".as_ref(),
                "trust".as_ref(),
            ]
            .into_iter()
            .chain(["-E", "UTF8", "--locale=C.UTF-8"].map(OsStr::new)),
        );
        server.launch();
        server
    }

    /// Starts the server on its data, also after a crash.
    pub(crate) fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.dir);
        command.args(["-c", "listen_addresses=", "-c", "fsync=on", "-c", "max_connections=200"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let mut command = self.command("psql");
        command.arg("-h").arg(&self.dir).args(["-U", "ream", "-d", "postgres", "-c", "SELECT 1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Kills the server and all its processes at once.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        let group = format!("-{}", process.id());
        let children = children_of(process.id());
        Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status().unwrap();
        // backends are leaders of their own groups
        for child in children {
            Command::new("kill").args(["-9", &child.to_string()]).stderr(Stdio::null()).status().unwrap();
        }
        process.wait().unwrap();
    }

    pub(crate) fn create(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
    }

    /// What a statement answers, unaligned.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let mut command = self.command("psql");
        command.arg("-h").arg(&self.dir).args([
            "-U",
            "ream",
            "-d",
            database,
            "-qAtv",
            "ON_ERROR_STOP=1",
            "-c",
            text,
        ]);
        output(&mut command)
    }

    /// The address of a database: the socket's folder is the percent-encoded host.
    pub(crate) fn url(&self, database: &str) -> String {
        let host = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://ream@{host}/{database}")
    }

    /// A tool of the server's beside its socket.
    pub(crate) fn tool(&self, name: &str, database: &str) -> Command {
        let mut command = self.command(name);
        command.arg("-h").arg(&self.dir).args(["-U", "ream", "-d", database]);
        command
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn run<'a>(&self, program: &str, args: impl Iterator<Item = &'a OsStr>) {
        output(self.command(program).args(args));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        // the working directory must be one that the account may enter
        command.current_dir(&self.dir).env("LC_ALL", "C.UTF-8").process_group(0);
        if let Some(account) = self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }

    /// Statics are never dropped, and a test may abort: a shell waits for this process to end, then stops the server and
    /// removes its directory.
    #[allow(clippy::zombie_processes, reason = "it ends after this process")]
    fn watch(&self) {
        let script = "while kill -0 \"$1\" 2>/dev/null; do sleep 0.2; done; \
             pid=$(head -n 1 \"$2/data/postmaster.pid\" 2>/dev/null) && kill -INT \"$pid\" 2>/dev/null; \
             for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 \"$pid\" 2>/dev/null || break; sleep 0.2; done; \
             rm -rf \"$2\"";
        Command::new("sh")
            .args(["-c", script, "sh", &std::process::id().to_string()])
            .arg(&self.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    }
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn children_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The folder of the newest server binaries: Debian keeps them outside PATH.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    found.sort();
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
    };
    found.pop().map(|(_, folder)| folder).or_else(in_path).unwrap_or_else(|| {
        panic!("the store's tests need a PostgreSQL server, version 15 or newer: apt-get install postgresql")
    })
}

fn account() -> Option<Account> {
    // the owner of /proc/self is who runs this
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let line = line
        .expect("root cannot run PostgreSQL, and there is no account `postgres`: apt-get install postgresql");
    let fields: Vec<&str> = line.split(':').collect();
    Some(Account { user: fields[2].parse().unwrap(), group: fields[3].parse().unwrap() })
}
