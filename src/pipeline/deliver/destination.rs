//! Where messages go: lines on stdout, objects in a folder or a bucket, a receiver over HTTP. In: the setting of a report.
//! Out: messages delivered.

use super::options::{Options, Report};
use super::webhook::{Failure, Webhook};
use crate::aws::Access;
use crate::clock::Clock;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::session::{Location, open_location};
use object_store::ObjectStoreExt;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Where lines go: stdout, or what a program that embeds us puts in its place.
pub type Lines = Arc<Mutex<dyn Write + Send>>;

/// A message as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) id: Uuid,
    pub(super) revision: u64,
    /// JSON in the shape of the receiver.
    pub(super) body: Vec<u8>,
}

/// Where the messages of a report go.
pub(super) enum Destination {
    Lines(Lines),
    Objects(Location),
    Web(Box<Webhook>),
}

impl Destination {
    /// Opens the destination of a report. Receivers and buckets are not asked yet.
    ///
    /// # Errors
    /// `Invalid` if a variable or a file that must hold something does not, or nothing may be sent to the place.
    pub(super) fn open(
        report: &Report,
        options: &Options,
        environment: &BTreeMap<String, String>,
        access: &Access,
        lines: &Lines,
    ) -> Result<Destination> {
        let read =
            |what: &str, variable: &Option<String>, file: &Option<std::path::PathBuf>| -> Result<Option<String>> {
                let text = match (variable, file) {
                    (Some(name), _) => environment.get(name).cloned().ok_or_else(|| {
                        Error::invalid(format!("{what}_env is {name}, which the environment does not have"))
                    })?,
                    (None, Some(file)) => {
                        std::fs::read_to_string(file).context(|| format!("read {what}_file {}", file.display()))?
                    }
                    (None, None) => return Ok(None),
                };
                match text.trim() {
                    "" => Err(Error::invalid(format!("{what} is empty"))),
                    text => Ok(Some(text.to_owned())),
                }
            };
        let secret = read("secret", &report.secret_env, &report.secret_file)?;
        let to = read("to", &report.to_env, &report.to_file)?.or_else(|| report.to.clone()).unwrap_or_default();
        if to.starts_with("https://") || to.starts_with("http://") {
            let secret = secret.as_deref().map(str::as_bytes);
            return Ok(Destination::Web(Box::new(Webhook::new(&to, secret, report, options)?)));
        }
        if secret.is_some() {
            return Err(Error::invalid("only messages to a URL are signed: a secret has no effect here"));
        }
        match to.as_str() {
            "stdout" => Ok(Destination::Lines(lines.clone())),
            place if is_slip(place) => Err(Error::invalid(format!("{place:?} is no place where messages can go"))
                .with_hint(format!(
                    "write stdout, a URL (https://...), s3://bucket/prefix, or ./{place} for a folder"
                ))),
            place => Ok(Destination::Objects(open_location(place, true, access)?)),
        }
    }

    /// Delivers a message; when this returns without an error, it is there. After `stop` it ends soon, whoever does not
    /// take it.
    pub(super) async fn deliver(
        &self,
        message: &Envelope,
        clock: Clock,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        match self {
            Destination::Web(webhook) => webhook.send(message, || clock.now(), stop).await,
            Destination::Objects(location) => {
                let path = location.root.clone().join(format!("{}-{:08}.json", message.id, message.revision));
                let put = location.store.put(&path, line(message).into()).await;
                Ok(put.map(drop).context(|| format!("write message {path} to {}", location.url))?)
            }
            Destination::Lines(lines) => {
                let (line, lines) = (line(message), lines.clone());
                let (sender, written) = oneshot::channel();
                let write = move || {
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = sender.send(lines.write_all(&line).and_then(|()| lines.flush()));
                };
                // A reader that is slow holds up this report and nothing else, and one that never reads does not hold up
                // the end of the process, as a thread of the runtime would.
                std::thread::Builder::new().name("lines".to_owned()).spawn(write).context(|| "start to write lines")?;
                let Some(written) = stop.run_until_cancelled(written).await else {
                    return Err(Error::new(ErrorKind::Unavailable, "nobody reads stdout").into());
                };
                let written = written.map_err(|error| Error::internal("write a line").with_source(error))?;
                Ok(written.context(|| "write a message to stdout")?)
            }
        }
    }
}

fn line(message: &Envelope) -> Vec<u8> {
    [&message.body, &b"\n"[..]].concat()
}

impl fmt::Display for Destination {
    /// Writes the place without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Lines(_) => f.write_str("stdout"),
            Destination::Objects(location) => f.write_str(&location.url),
            Destination::Web(webhook) => webhook.fmt(f),
        }
    }
}

/// Whether what seems to be a folder is rather a slip of the pen: a word like stdout, or a scheme as in `mailto:me`.
fn is_slip(place: &str) -> bool {
    match place.split_once('/') {
        Some((first, _)) => first.contains(':') && !place.contains("://"),
        None => place.contains(':') || place == "-" || place.to_lowercase().starts_with("std"),
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({self})")
    }
}
