//! The emulator of AWS that `tests/servers/aws.sh` installs and starts: one for all tests, until the tests end.

use assert_cmd::Command;
use flowdiff::aws::{Access, Bucket, Options};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

pub struct Emulator {
    /// S3 and STS.
    pub url: String,
    /// The metadata services of ECS and EC2.
    pub metadata_url: String,
    /// Shared files with a profile `base`.
    folder: tempfile::TempDir,
    /// It ends when its stdin does, so with this process.
    _server: Child,
}

/// The emulator, or `None` and a loud line where it cannot be had.
pub fn emulator() -> Option<&'static Emulator> {
    static STARTED: OnceLock<Option<Emulator>> = OnceLock::new();
    let started = STARTED.get_or_init(|| match start() {
        Ok(emulator) => Some(emulator),
        Err(why) => {
            say(&format!("SKIPPED: every test on S3: the emulator of AWS cannot be had: {why}"));
            None
        }
    });
    started.as_ref()
}

/// Says it whether the test passes or not: what `eprintln` writes, a passing test keeps to itself.
pub fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn start() -> Result<Emulator, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/aws.sh");
    let mut server = std::process::Command::new(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).map_err(|error| error.to_string())?;
    let mut words = line.split_whitespace();
    let (Some("ready"), Some(url), Some(metadata_url)) = (words.next(), words.next(), words.next()) else {
        return Err(format!("{} ended without being ready", script.display()));
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("credentials"),
        "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = basesecret\n",
    )
    .unwrap();
    Ok(Emulator { url: url.to_owned(), metadata_url: metadata_url.to_owned(), folder, _server: server })
}

impl Emulator {
    /// A new bucket of its own for one test.
    pub fn bucket(&self) -> Bucket {
        let name = format!("b-{}", uuid::Uuid::new_v4());
        self.put(&name, b"");
        Bucket::new(name, self.access())
    }

    /// Puts a bucket, or an object that everybody may read.
    pub fn put(&self, path: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        let length = body.len();
        let head = format!("PUT /{path} HTTP/1.1\r\nhost: s3\r\nx-amz-acl: public-read\r\ncontent-length: {length}");
        stream.write_all(&[head.as_bytes(), b"\r\nconnection: close\r\n\r\n", body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    pub fn access(&self) -> Access {
        let options = Options {
            profile: Some("base".to_owned()),
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(self.url.clone()),
            credentials_file: Some(self.credentials_file()),
            ..Options::default()
        };
        Access { options, ..Access::default() }
    }

    pub fn credentials_file(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// The binary with an environment of its own: no home, no metadata service, all of AWS here.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::cargo_bin("flowdiff").unwrap();
        command
            .current_dir(folder)
            .timeout(std::time::Duration::from_secs(120))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// The same with keys.
    pub fn command_with_keys(&self, folder: &Path) -> Command {
        let mut command = self.command(folder);
        command.env("AWS_ACCESS_KEY_ID", "AKIABASE").env("AWS_SECRET_ACCESS_KEY", "basesecret");
        command
    }
}

/// What a command wrote, once it has ended as expected.
pub fn run(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}
