//! The servers that the scripts of `tests/servers` install and start, each one for all tests, until the tests end: an
//! emulator of AWS, and Garage, a real S3 server which checks signatures and ignores put-if-absent.

use assert_cmd::Command;
use flowdiff::aws::{Access, Bucket, Options};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

pub struct Server {
    /// S3, and STS where there is one.
    pub url: String,
    /// The metadata services of ECS and EC2; `-` where there are none.
    pub metadata_url: String,
    pub region: String,
    access_key: String,
    secret_key: String,
    /// The one bucket of the server; where there is none, each test makes its own.
    bucket: Option<String>,
    /// Shared files with a profile `base`.
    folder: tempfile::TempDir,
    /// It ends when its stdin does, so with this process.
    _child: Child,
}

/// The emulator of AWS, or `None` and a loud line where it cannot be had.
pub fn emulator() -> Option<&'static Server> {
    static STARTED: OnceLock<Option<Server>> = OnceLock::new();
    STARTED.get_or_init(|| Server::start("aws.sh", "every test on the emulator of AWS")).as_ref()
}

/// Garage, or `None` and a loud line where it has not been built.
pub fn garage() -> Option<&'static Server> {
    static STARTED: OnceLock<Option<Server>> = OnceLock::new();
    STARTED.get_or_init(|| Server::start("garage.sh", "every test on Garage, which checks signatures")).as_ref()
}

/// Says it whether the test passes or not: what `eprintln` writes, a passing test keeps to itself.
pub fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

impl Server {
    /// Starts what a script of `tests/servers` starts; `None` where it does not, which is said with what is skipped.
    fn start(script: &str, skipped: &str) -> Option<Server> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(script);
        let mut command = std::process::Command::new(&path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["ready", url, region, access_key, secret_key, bucket, metadata_url] = words[..] else {
            child.wait().unwrap();
            say(&format!("SKIPPED: {skipped}: tests/servers/{script} has said why"));
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[base]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
        std::fs::write(folder.path().join("credentials"), text).unwrap();
        Some(Server {
            url: url.to_owned(),
            metadata_url: metadata_url.to_owned(),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            bucket: Some(bucket.to_owned()).filter(|bucket| bucket != "-"),
            folder,
            _child: child,
        })
    }

    /// A bucket for one test: a new one of its own, where the server lets everybody make buckets.
    pub fn bucket(&self) -> Bucket {
        let name = self.bucket.clone().unwrap_or_else(|| {
            let name = format!("b-{}", uuid::Uuid::new_v4());
            self.put(&name, b"");
            name
        });
        Bucket::new(name, self.access())
    }

    /// Puts a bucket, or an object that everybody may read, without a signature.
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
            region: Some(self.region.clone()),
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
        limited(self.bare(folder))
    }

    fn bare(&self, folder: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("flowdiff"));
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", &self.region)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// The same with keys, for a process that goes on beside the test.
    pub fn process(&self, folder: &Path) -> std::process::Command {
        let mut command = self.bare(folder);
        command.env("AWS_ACCESS_KEY_ID", &self.access_key).env("AWS_SECRET_ACCESS_KEY", &self.secret_key);
        command
    }

    /// The same with keys.
    pub fn command_with_keys(&self, folder: &Path) -> Command {
        limited(self.process(folder))
    }
}

/// A command that does not wait for ever.
fn limited(command: std::process::Command) -> Command {
    let mut command = Command::from_std(command);
    command.timeout(std::time::Duration::from_secs(120));
    command
}

/// What a command wrote, once it has ended as expected.
pub fn run(command: &mut Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}
