//! What a job is: which windows must be built, and for what. The same work is the same job, whoever asks for it.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::window::Window;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

/// Namespace of the ids of jobs: with it the same kind and windows give the same id everywhere.
const NAMESPACE: Uuid = Uuid::from_u128(0x5fb3_96d2_9a0c_4a6e_8a55_6f0c_b1f7_4d21);

/// What the windows of a job are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobKind)]
pub enum Kind {
    /// The edges of one window.
    Digest,
    /// The graph of one window.
    Graph,
    /// What differs between two windows: before, after.
    Diff,
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Digest => "digest",
            Kind::Graph => "graph",
            Kind::Diff => "diff",
        }
    }

    /// How many windows it takes.
    pub fn windows(self) -> usize {
        match self {
            Kind::Digest | Kind::Graph => 1,
            Kind::Diff => 2,
        }
    }
}

/// Windows that are to be built.
///
/// Invariants:
/// - The id is a function of kind and windows.
/// - There are as many windows as the kind takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Stored")]
pub struct Job {
    /// Names the job: UUID version 5 of its kind and windows.
    id: Uuid,
    /// What the windows are for.
    kind: Kind,
    /// The windows, as ISO 8601 intervals.
    #[serde(serialize_with = "as_texts")]
    #[schema(value_type = Vec<String>)]
    windows: Vec<Window>,
}

impl Job {
    /// The job of building `windows` for what `kind` says.
    ///
    /// # Errors
    /// `Invalid` if the kind takes another number of windows.
    pub fn new(kind: Kind, windows: Vec<Window>) -> Result<Job> {
        if windows.len() != kind.windows() {
            let (name, takes, given) = (kind.name(), kind.windows(), windows.len());
            return Err(Error::invalid(format!("a {name} takes {takes} window(s), not {given}"))
                .with_hint("a digest or graph takes one window, a diff takes two: before and after"));
        }
        let name = std::iter::once(kind.name().to_owned()).chain(windows.iter().map(Window::to_string));
        let name = name.collect::<Vec<_>>().join("\n");
        Ok(Job { id: Uuid::new_v5(&NAMESPACE, name.as_bytes()), kind, windows })
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What its windows are for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The windows to build; for a diff before and after.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }
}

impl std::fmt::Display for Job {
    /// Writes `diff of 2026-11-20T12:00Z/2026-11-20T13:00Z and ...`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let windows: Vec<String> = self.windows.iter().map(Window::to_string).collect();
        write!(f, "{} of {}", self.kind.name(), windows.join(" and "))
    }
}

/// A job as it was written: what its id must be follows from the rest.
#[derive(Deserialize)]
struct Stored {
    kind: Kind,
    windows: Vec<String>,
}

impl TryFrom<Stored> for Job {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Job> {
        let read = |text: String| {
            // Nothing that is written depends on the present; what does, is not what was written.
            let window = Window::parse(&text, Timestamp::UNIX_EPOCH)?;
            let is_exact = window.to_string() == text;
            is_exact.then_some(window).ok_or_else(|| Error::invalid(format!("{text:?} is no window as jobs have it")))
        };
        Job::new(stored.kind, stored.windows.into_iter().map(read).collect::<Result<_>>()?)
    }
}

fn as_texts<S: Serializer>(windows: &[Window], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(windows.iter().map(Window::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|text| Window::parse(text, Timestamp::UNIX_EPOCH).unwrap()).collect()
    }

    #[test]
    fn the_same_work_is_the_same_job_and_other_work_is_not() {
        let job = |kind, texts: &[&str]| Job::new(kind, windows(texts)).unwrap();
        let digest = job(Kind::Digest, &["2026-11-20T12"]);
        assert_eq!(digest.id(), job(Kind::Digest, &["2026-11-20T12:00Z/PT1H"]).id());
        // Processes of other releases must find the same job.
        assert_eq!(digest.id().to_string(), "664ea41f-5081-5772-bba7-109a4f9fed7b");
        assert_ne!(digest.id(), job(Kind::Graph, &["2026-11-20T12"]).id());
        assert_ne!(
            job(Kind::Diff, &["2026-11-20T12", "2026-11-20T13"]).id(),
            job(Kind::Diff, &["2026-11-20T13", "2026-11-20T12"]).id()
        );
    }

    #[test]
    fn each_kind_takes_its_number_of_windows() {
        assert!(Job::new(Kind::Digest, Vec::new()).is_err());
        assert!(Job::new(Kind::Graph, windows(&["2026-11-20", "2026-11-21"])).is_err());
        let error = Job::new(Kind::Diff, windows(&["2026-11-20"])).unwrap_err();
        assert_eq!(error.to_string(), "a diff takes 2 window(s), not 1");
    }

    #[test]
    fn a_job_reads_back_as_it_is_written_and_no_window_depends_on_the_present() {
        let job = Job::new(Kind::Diff, windows(&["2026-11-20T12", "2026-11-20T13"])).unwrap();
        let json = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&json).unwrap(), job);
        let moving = json.replace("2026-11-20T12:00Z/2026-11-20T13:00Z", "PT1H/now");
        assert!(serde_json::from_str::<Job>(&moving).unwrap_err().to_string().contains("PT1H/now"));
    }
}
