//! The one error type of the crate. In: what went wrong and where. Out: a kind that a caller can act on.
//! Knows nothing of HTTP or the command line beyond the exit code that DESIGN's table gives each kind.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Result of every fallible function of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do about an error; a kind exists only where callers would act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Correct the input or the setting.
    Invalid,
    /// Ask for something that exists; the message lists what does.
    NotFound,
    /// Somebody else got there first: reload and try again.
    Conflict,
    /// Wait and try again.
    Unavailable,
    /// Repair or exclude the object that the message names.
    Data,
    /// Report it: this is a defect of flowdiff.
    Internal,
}

impl ErrorKind {
    /// Exit code of the command line for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Internal => 1,
            ErrorKind::Invalid => 2,
            ErrorKind::NotFound => 3,
            ErrorKind::Conflict => 4,
            ErrorKind::Unavailable => 5,
            ErrorKind::Data => 6,
        }
    }
}

/// An error: its kind, a message that names the thing at fault, what to do about it, and the cause.
///
/// Messages are lower case, without a final stop and without secrets. `Display` prints the message alone;
/// the causes are reached through [`std::error::Error::source`], the advice through [`Error::hint`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None, source: None }
    }

    /// Makes an [`ErrorKind::Invalid`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// Makes an [`ErrorKind::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, message)
    }

    /// Makes an [`ErrorKind::Data`] error.
    pub fn data(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Data, message)
    }

    /// Makes an [`ErrorKind::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    /// Adds what the user can do about it, printed as `hint: ...`.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps this error in one of the same kind that says what was being done (`"publish digest ..."`).
    pub fn context(self, doing: impl Into<String>) -> Self {
        Error { kind: self.kind, message: doing.into(), hint: None, source: Some(Box::new(self)) }
    }

    /// An error that says the same, for another who waits for the same thing: causes become text.
    pub fn copy(&self) -> Error {
        let mut message = self.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let cause = error.to_string();
            // A wrapper often repeats the words of what it wraps.
            if !message.ends_with(&cause) {
                message += &format!(": {cause}");
            }
            next = error.source();
        }
        Error { kind: self.kind, message, hint: self.hint().map(str::to_owned), source: None }
    }

    /// What a caller should do about this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The advice nearest to the cause, if any error of the chain carries one.
    pub fn hint(&self) -> Option<&str> {
        let mut hint = self.hint.as_deref();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Error>() {
                hint = error.hint.as_deref().or(hint);
            }
            next = error.source();
        }
        hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Adds what was being done to a failed result.
pub trait Context<T> {
    /// Wraps the error as [`Error::context`] does; `doing` is only called on failure.
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(doing()))
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Store;
        let error = match error {
            // An error of ours that travelled through a store.
            Store::Generic { store, source } => match source.downcast::<Error>() {
                Ok(ours) => return *ours,
                Err(source) => Store::Generic { store, source },
            },
            error => error,
        };
        Error::new(kind_of_store(&error), error.to_string()).with_source(error)
    }
}

fn kind_of_store(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Store;
    match error {
        Store::NotFound { .. } => ErrorKind::NotFound,
        Store::AlreadyExists { .. } | Store::Precondition { .. } => ErrorKind::Conflict,
        Store::InvalidPath { .. }
        | Store::PermissionDenied { .. }
        | Store::Unauthenticated { .. }
        | Store::UnknownConfigurationKey { .. }
        | Store::NotSupported { .. } => ErrorKind::Invalid,
        Store::Generic { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    /// Finds the error of ours that travelled through a plan, or judges DataFusion's own.
    fn from(error: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError as Df;
        match error {
            Df::External(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(source) => Error::internal(source.to_string()).with_source(source),
            },
            Df::Context(_, inner) | Df::Diagnostic(_, inner) => Error::from(*inner),
            Df::ArrowError(inner, _) => Error::from(*inner),
            Df::ParquetError(inner) => Error::from(*inner),
            Df::ObjectStore(inner) => Error::from(*inner),
            Df::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
                Ok(inner) => Error::from(inner),
                Err(inner) => of_shared(inner.as_ref()),
            },
            other => of_datafusion(&other),
        }
    }
}

/// Judges an error that DataFusion itself makes.
fn of_datafusion(error: &datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError as Df;
    match error {
        Df::SQL(..) | Df::Plan(_) | Df::SchemaError(..) | Df::Execution(_) | Df::NotImplemented(_) => {
            Error::invalid(error.strip_backtrace())
        }
        Df::ResourcesExhausted(message) => Error::new(ErrorKind::Unavailable, message)
            .with_hint("give the query more memory with --memory, or narrow it"),
        other => Error::internal(other.strip_backtrace()),
    }
}

/// Judges an error that others hold, too, as the threads behind an exchange of rows do: as if it were held alone, its
/// causes as text.
fn of_shared(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    if let Some(ours) = chain.clone().find_map(|error| error.downcast_ref::<Error>()) {
        return ours.copy();
    }
    if let Some(store) = chain.clone().find_map(|error| error.downcast_ref::<object_store::Error>()) {
        return Error::new(kind_of_store(store), store.to_string());
    }
    let innermost = chain.clone().last().unwrap_or(error);
    if let Some(parquet) = chain.find_map(|error| error.downcast_ref::<parquet::errors::ParquetError>()) {
        Error::data(parquet.to_string())
    } else if let Some(arrow) = innermost.downcast_ref() {
        Error::new(kind_of_arrow(arrow), arrow.to_string())
    } else if let Some(own) = innermost.downcast_ref() {
        of_datafusion(own)
    } else {
        Error::internal(error.to_string())
    }
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as Arrow;
        match error {
            Arrow::ExternalError(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(source) => match source.downcast::<datafusion::error::DataFusionError>() {
                    Ok(inner) => Error::from(*inner),
                    Err(source) => Error::internal(source.to_string()).with_source(source),
                },
            },
            other => match kind_of_arrow(&other) {
                ErrorKind::Invalid => Error::invalid(other.to_string()),
                kind => Error::new(kind, other.to_string()).with_source(other),
            },
        }
    }
}

fn kind_of_arrow(error: &arrow::error::ArrowError) -> ErrorKind {
    use arrow::error::ArrowError as Arrow;
    match error {
        Arrow::DivideByZero | Arrow::CastError(_) | Arrow::ParseError(_) | Arrow::ArithmeticOverflow(_) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Internal,
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::External(source) => match source.downcast::<object_store::Error>() {
                Ok(inner) => Error::from(*inner),
                Err(source) => Error::data(source.to_string()).with_source(source),
            },
            other => Error::data(other.to_string()).with_source(other),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::Conflict,
            Io::PermissionDenied | Io::InvalidInput | Io::IsADirectory | Io::NotADirectory => ErrorKind::Invalid,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Data,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, error.to_string()).with_source(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::data(error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_each_cause_once() {
        let io = std::io::Error::new(std::io::ErrorKind::NotADirectory, "not a directory");
        let store = object_store::Error::Generic { store: "Folder", source: Box::new(io) };
        let error = Error::from(store).context("list digests");
        assert_eq!(error.copy().to_string(), "list digests: Generic Folder error: not a directory");
    }

    /// As behind an exchange of rows, which hands one error to each of its readers.
    #[test]
    fn an_error_that_several_threads_hold_is_judged_as_if_one_did() {
        use datafusion::error::DataFusionError as Df;
        let errors: [fn() -> Df; 6] = [
            || Error::data("object a.log.gz: truncated").with_hint("fetch it again").into(),
            || Df::ResourcesExhausted("no memory".to_owned()),
            || Df::from(arrow::error::ArrowError::DivideByZero),
            || Df::from(arrow::error::ArrowError::ExternalError(Box::new(Df::Execution("no such day".to_owned())))),
            || Df::from(parquet::errors::ParquetError::General("torn".to_owned())),
            || Df::Internal("a defect".to_owned()),
        ];
        for make in errors {
            let shared = std::sync::Arc::new(make().context("repartition"));
            let (one, alone) = (Error::from(Df::Shared(shared.clone())), Error::from(make()));
            assert_eq!((one.kind(), one.hint()), (alone.kind(), alone.hint()), "{shared}");
            assert!(one.to_string().starts_with(&alone.to_string()), "{one}: {alone}");
        }
        let missing = object_store::Error::NotFound { path: "a".to_owned(), source: "gone".into() };
        let shared = std::sync::Arc::new(Df::ObjectStore(Box::new(missing)));
        assert_eq!(Error::from(Df::Shared(shared.clone())).kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_error_of_ours_survives_the_way_through_a_plan() {
        let error = Error::data("object a.log.gz: truncated").with_hint("fetch it again");
        let df = datafusion::error::DataFusionError::from(error).context("scan");
        let back = Error::from(df);
        assert_eq!(back.kind(), ErrorKind::Data);
        assert_eq!(back.to_string(), "object a.log.gz: truncated");
    }

    #[test]
    fn context_keeps_kind_and_hint() {
        let error = Error::invalid("no such window").with_hint("try another").context("read digest");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.hint(), Some("try another"));
        assert_eq!(error.to_string(), "read digest");
    }
}
