//! Bearer tokens: made here, shown once, kept as checksums. In: lines of a file and of the settings. Out: who a token is.
//!
//! A token is 256 random bits, so a plain SHA-256 is right: there is no dictionary to try, and slow hashes, made for
//! passwords, would only make each request slow.

use super::access::{ANONYMOUS, Identity, Role};
use super::stamp::Stamp;
use crate::error::{Context, Error, Result};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, RwLock};
use subtle::ConstantTimeEq;

/// What every token begins with, so that scanners for leaked secrets can know one.
const PREFIX: &str = "fdt_";
const SECRET_BYTES: usize = 32;
const CHECKSUM: &str = "sha256:";
const HINT: &str = "`flowdiff token new` prints such a line";

/// A new token: the secret, and the line that lets it in.
#[derive(Debug)]
pub struct NewToken {
    /// What the client sends. It is kept nowhere.
    pub secret: String,
    /// What the service knows: name, roles and checksum.
    pub line: String,
}

impl NewToken {
    /// Makes a token of `name` with `roles`.
    ///
    /// # Errors
    /// `Invalid` if the name could not be read back, `Internal` if the system has no random bytes.
    pub fn generate(name: &str, roles: &[Role]) -> Result<NewToken> {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system gives no random bytes"))?;
        let secret = format!("{PREFIX}{}", hex(&bytes));
        let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let line = format!("{name} {} {CHECKSUM}{}", roles.join(","), hex(&checksum(&secret)));
        line.parse::<Known>().map_err(|_| {
            Error::invalid(format!("token name {name:?} or its roles cannot be kept in a line"))
                .with_hint("give a name of letters, digits and -_.@ and at least one role")
        })?;
        Ok(NewToken { secret, line })
    }
}

/// A token as the service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    identity: Identity,
    checksum: [u8; SECRET_BYTES],
}

impl FromStr for Known {
    type Err = String;

    fn from_str(line: &str) -> Result<Known, String> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [name, roles, checksum] = parts[..] else {
            return Err("expected three parts: a name, its roles, and sha256:...".to_owned());
        };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)) {
            return Err(format!("name {name:?} has other characters than letters, digits and -_.@"));
        }
        if name == ANONYMOUS {
            return Err(format!("name {name} is for those without a token"));
        }
        let roles = roles.split(',').map(Role::from_str).collect::<Result<Vec<_>, _>>()?;
        let checksum = checksum.strip_prefix(CHECKSUM).and_then(bytes_of_hex);
        let checksum = checksum.ok_or_else(|| format!("{name} has no sha256: of 64 hexadecimal digits"))?;
        Ok(Known { identity: Identity::new(name, &roles), checksum })
    }
}

/// The tokens of a service.
#[derive(Debug)]
pub(super) struct Tokens {
    fixed: Vec<Known>,
    file: Option<PathBuf>,
    known: RwLock<Vec<Known>>,
    stamp: Mutex<Option<Stamp>>,
}

impl Tokens {
    /// The tokens of `lines`, and those of `file`.
    ///
    /// # Errors
    /// `Invalid` naming the line that cannot be read, and what the file system says of the file.
    pub(super) fn open(lines: &[String], file: Option<&Path>) -> Result<Tokens> {
        let read = |line: &String| {
            line.parse().map_err(|why: String| Error::invalid(format!("serve.tokens: {why}")).with_hint(HINT))
        };
        let fixed = lines.iter().map(read).collect::<Result<Vec<Known>>>()?;
        let tokens = Tokens {
            known: RwLock::new(fixed.clone()),
            fixed,
            file: file.map(Path::to_owned),
            stamp: Mutex::new(None),
        };
        tokens.reload(true)?;
        if tokens.count() == 0 {
            tracing::warn!("serve.tokens_file has no token: nobody is let in");
        }
        Ok(tokens)
    }

    /// Reads the file again if it changed, or `always`. A file that cannot be read leaves the tokens as they were.
    ///
    /// # Errors
    /// As [`Tokens::open`].
    pub(super) fn reload(&self, always: bool) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let stamp = Stamp::of(&[file]);
        let mut last = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if !always && *last == Some(stamp.clone()) {
            return Ok(());
        }
        // A file that is broken is told of once, not at every look.
        let is_first = last.replace(stamp).is_none();
        let text = std::fs::read_to_string(file).context(|| format!("read tokens file {}", file.display()))?;
        let mut known = self.fixed.clone();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            known.push(line.parse().map_err(|why| {
                Error::invalid(format!("{}, line {}: {why}", file.display(), index + 1)).with_hint(HINT)
            })?);
        }
        if !is_first {
            tracing::info!(tokens = known.len(), "tokens were read again");
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Whose token `secret` is. The time taken tells nothing of the tokens: all are compared, each in constant time.
    pub(super) fn find(&self, secret: &str) -> Option<Identity> {
        let wanted = checksum(secret);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for token in known.iter() {
            if bool::from(token.checksum.ct_eq(&wanted)) {
                found = Some(&token.identity);
            }
        }
        found.cloned()
    }

    fn count(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn checksum(secret: &str) -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of_hex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    if text.len() != 2 * SECRET_BYTES || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_line_alone() {
        let (token, other) = (
            NewToken::generate("grafana", &[Role::Read, Role::Sql]).unwrap(),
            NewToken::generate("other", &[Role::Operate]).unwrap(),
        );
        assert!(!token.line.contains(&token.secret[PREFIX.len()..]), "the line must not tell the secret");
        let tokens = Tokens::open(&[token.line, other.line], None).unwrap();
        let identity = tokens.find(&token.secret).unwrap();
        assert_eq!(&*identity.name, "grafana");
        assert!(identity.may(Role::Read) && identity.may(Role::Sql) && !identity.may(Role::Operate));
        assert_eq!(tokens.find(&token.secret[1..]), None);
        assert_eq!(tokens.find(""), None);
        assert_ne!(token.secret, other.secret);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_nothing_of_it_is_let_in() {
        for (line, why) in [
            ("grafana read", "three parts"),
            ("grafana read,write sha256:00", "there is no role"),
            ("grafana read sha256:00", "64 hexadecimal digits"),
            ("grafana read md5:00", "64 hexadecimal digits"),
            ("gra/fana read sha256:00", "other characters"),
            ("anonymous read sha256:00", "without a token"),
        ] {
            let error = Tokens::open(&[line.to_owned()], None).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(NewToken::generate("two words", &[Role::Read]).is_err());
        assert!(NewToken::generate("nobody", &[]).is_err());
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let (one, two) =
            (NewToken::generate("one", &[Role::Read]).unwrap(), NewToken::generate("two", &[Role::Read]).unwrap());
        assert!(Tokens::open(&[], Some(&file)).is_err(), "a file that is named must be there");
        std::fs::write(&file, format!("# who may read\n\n{}\n", one.line)).unwrap();
        let tokens = Tokens::open(&[], Some(&file)).unwrap();
        assert!(tokens.find(&one.secret).is_some());
        std::fs::write(&file, format!("{}\nnonsense\n", two.line)).unwrap();
        let error = tokens.reload(false).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(tokens.find(&one.secret).is_some() && tokens.find(&two.secret).is_none());
        tokens.reload(false).unwrap();
        std::fs::write(&file, &two.line).unwrap();
        tokens.reload(false).unwrap();
        assert!(tokens.find(&one.secret).is_none() && tokens.find(&two.secret).is_some());
        std::fs::remove_file(&file).unwrap();
        assert!(tokens.reload(false).is_err());
        assert!(tokens.find(&two.secret).is_some());
        std::fs::write(&file, "").unwrap();
        tokens.reload(false).unwrap();
        assert!(tokens.find(&two.secret).is_none(), "an emptied file lets nobody in");
    }
}
