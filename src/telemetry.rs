//! Logs to stderr. Called once, from the command line.

use crate::config::{LogFormat, LogOptions};
use crate::error::{Error, Result};
use tracing_subscriber::EnvFilter;

/// Begins to log as the settings say. A second call in one process changes nothing.
///
/// # Errors
/// `Invalid` if the level cannot be read.
pub fn init(options: &LogOptions, colors: bool) -> Result<()> {
    let filter = EnvFilter::try_new(&options.level).map_err(|error| {
        Error::invalid(format!("log.level {:?}: {error}", options.level)).with_hint("use error, warn, info, debug or trace")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors);
    // An embedding program may have its own subscriber.
    let _ = match options.format {
        LogFormat::Text => builder.without_time().with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
