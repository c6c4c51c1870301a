//! `token new`: a token for a client, and the line that lets it in.

use super::out::print;
use super::say::say;
use crate::error::{Context, Result};
use crate::serve::front::{NewToken, Role};
use std::io::Write;
use std::path::Path;

/// Prints a new token, which is shown once and kept nowhere; its line goes to the end of `append`, or to stderr.
pub(super) fn new(name: &str, roles: &[Role], append: Option<&Path>, output: Option<&Path>) -> Result<()> {
    let NewToken { secret, line } = NewToken::generate(name, roles)?;
    match append {
        Some(file) => {
            append_line(file, &line).context(|| format!("add a token to {}", file.display()))?;
            say(format_args!(
                "{name} may now {} with this token",
                roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
            ));
        }
        None => say(format_args!(
            "a line for the file that serve.tokens_file names, or for serve.tokens:\n{line}\nthe token, shown this once:"
        )),
    }
    print(output, format!("{secret}\n").as_bytes())
}

/// Who reads the file learns no token, but who writes it lets in whom they like: it is its owner's.
fn append_line(file: &Path, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}
