//! How an error ends a command. In: an error. Out: its message, causes and hint on stderr.

use super::say::say;
use crate::error::{Error, ErrorKind};
use console::style;

/// Prints an error, its causes and its hint to stderr.
pub fn print_error(error: &Error) {
    for (label, text) in lines(error) {
        let shown = style(format!("{label}:")).for_stderr().bold();
        let shown = if label == "error" { shown.red() } else { shown.cyan() };
        say(format_args!("{shown} {text}"));
    }
}

/// Label and text of each line that is printed.
pub(super) fn lines(error: &Error) -> Vec<(&'static str, String)> {
    let mut lines = vec![("error", error.to_string())];
    let mut last = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        // A wrapper often repeats the words of what it wraps.
        if !last.contains(&text) {
            lines.push(("caused by", text.clone()));
        }
        last = text;
        next = cause.source();
    }
    lines.extend(error.hint().map(|hint| ("hint", hint.to_owned())));
    if error.kind() == ErrorKind::Internal {
        lines.push(("hint", "this is a defect of flowdiff: please report it with the command that met it".to_owned()));
    }
    lines
}

/// Whether an error only says that nobody reads the output any more, as behind `head`.
pub fn is_broken_pipe(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_prints_its_causes_once_and_then_its_hint() {
        let cause = Error::from(io::Error::new(io::ErrorKind::PermissionDenied, "permission denied"));
        let error = cause.with_hint("ask for access").context("read object a").context("scan");
        let lines = lines(&error);
        let lines: Vec<String> = lines.iter().map(|(label, text)| format!("{label}: {text}")).collect();
        assert_eq!(
            lines,
            ["error: scan", "caused by: read object a", "caused by: permission denied", "hint: ask for access"]
        );
    }

    #[test]
    fn a_defect_asks_to_be_reported() {
        let lines = lines(&Error::internal("a sum does not add up"));
        assert!(lines.last().unwrap().1.contains("please report"));
    }

    #[test]
    fn a_reader_that_went_away_is_told_from_other_failures() {
        let pipe = Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("write rows");
        assert!(is_broken_pipe(&pipe));
        assert!(!is_broken_pipe(&Error::from(io::Error::from(io::ErrorKind::NotFound))));
    }
}
