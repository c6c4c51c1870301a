//! Logs to stderr. Called once, from the command line.

use crate::config::{LogFormat, LogOptions};
use crate::error::{Error, Result};
use tracing_subscriber::EnvFilter;

/// Begins to log as the settings say. A second call in one process changes nothing.
///
/// # Errors
/// `Invalid` if the level cannot be read.
pub fn init(options: &LogOptions, colors: bool) -> Result<()> {
    let filter = EnvFilter::try_new(directives(&options.level)).map_err(|error| {
        Error::invalid(format!("log.level {:?}: {error}", options.level))
            .with_hint("use error, warn, info, debug, trace or off")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors);
    // An embedding program may have its own subscriber.
    let _ = match options.format {
        LogFormat::Text => builder.without_time().with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// A bare level is about flowdiff: of the libraries below it, `info` and `debug` would drown what was asked for.
fn directives(level: &str) -> String {
    match level {
        "info" | "debug" => format!("warn,flowdiff={level}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_cannot_be_read_is_quoted() {
        let options = LogOptions { level: "flowdiff=loud".to_owned(), ..LogOptions::default() };
        let error = init(&options, false).unwrap_err();
        assert!(error.to_string().contains("flowdiff=loud"), "{error}");
    }

    #[test]
    fn info_is_about_flowdiff_and_a_filter_stays_as_it_is() {
        assert_eq!(directives("info"), "warn,flowdiff=info");
        assert_eq!(directives("trace"), "trace");
        assert_eq!(directives("flowdiff::scan=debug"), "flowdiff::scan=debug");
    }
}
