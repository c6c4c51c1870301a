//! One row of edges or of a diff, read from whatever columns there are.

use super::text::label;
use crate::error::{Context, Error, Result};
use chrono::{DateTime, SecondsFormat};
use datafusion::arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, Schema, TimeUnit, UInt8Type, UInt16Type};
use std::borrow::Cow;

/// How an edge differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Removed,
    Changed,
}

impl Change {
    fn parse(text: &str) -> Option<Change> {
        match text {
            "added" => Some(Change::Added),
            "removed" => Some(Change::Removed),
            "changed" => Some(Change::Changed),
            _ => None,
        }
    }

    /// Name in attributes, lower case.
    pub(super) fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

/// Declares the columns once: what a link holds of each, and how a batch reads it.
macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $column:ty,)*) => {
        /// One edge of the graph. A field is `None` where the stream has no such column, or null in it.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Link<'a> {
            pub(super) change: Option<Change>,
            $($(#[$doc])* pub(super) $name: Option<<$column as Column>::Value<'a>>,)*
        }

        /// The links of one batch.
        pub(super) struct Links {
            rows: usize,
            change: Option<Text>,
            $($name: Option<$column>,)*
        }

        impl Links {
            /// Finds the columns by name; those of another type are cast.
            ///
            /// # Errors
            /// `Invalid` if a column cannot be cast.
            pub(super) fn of(batch: &RecordBatch) -> Result<Links> {
                Ok(Links {
                    rows: batch.num_rows(),
                    change: Column::find(batch, "change")?,
                    $($name: Column::find(batch, stringify!($name))?,)*
                })
            }

            /// The link of a row below [`Links::rows`].
            pub(super) fn link(&self, row: usize) -> Link<'_> {
                Link {
                    change: self.change.as_ref().and_then(|column| column.value(row)).and_then(Change::parse),
                    $($name: self.$name.as_ref().and_then(|column| column.value(row)),)*
                }
            }
        }
    };
}

columns! {
    evidence: Text,
    account_id: Text,
    interface_id: Text,
    srcaddr: Text,
    dstaddr: Text,
    srcport: Number<UInt16Type>,
    dstport: Number<UInt16Type>,
    protocol: Number<UInt8Type>,
    action: Text,
    flows: Number<Int64Type>,
    packets: Number<Int64Type>,
    bytes: Number<Int64Type>,
    /// Unix seconds.
    first_seen: Seconds,
    /// Unix seconds.
    last_seen: Seconds,
    tcp_flags: Number<UInt8Type>,
    flows_before: Number<Int64Type>,
    packets_before: Number<Int64Type>,
    bytes_before: Number<Int64Type>,
}

impl Links {
    /// Says whether a stream of `schema` can be drawn.
    ///
    /// # Errors
    /// `Invalid`, naming the columns that are missing.
    pub(super) fn check(schema: &Schema) -> Result<()> {
        let has = |name: &str| schema.index_of(name).is_ok();
        if (has("srcaddr") && has("dstaddr")) || (has("account_id") && has("interface_id")) {
            return Ok(());
        }
        Err(Error::invalid("a graph needs columns srcaddr and dstaddr, or account_id and interface_id").with_hint(
            "graph formats are for `flowdiff graph`, `edges` and `diff`; take --format table for other rows",
        ))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

impl<'a> Link<'a> {
    /// The names of the nodes it joins.
    pub(super) fn ends(&self) -> (&'a str, &'a str) {
        let (from, to) = match (self.srcaddr, self.dstaddr) {
            (None, None) => (self.account_id, self.interface_id),
            addresses => addresses,
        };
        (from.unwrap_or("-"), to.unwrap_or("-"))
    }

    /// The color of its action in every format: green ACCEPT, red REJECT.
    pub(super) fn color(&self) -> Option<&'static str> {
        match self.action? {
            "ACCEPT" => Some("green"),
            "REJECT" => Some("red"),
            _ => None,
        }
    }

    /// Every attribute, absent ones too: always the same names, kinds and order. Times are RFC 3339.
    pub(super) fn attributes(&self) -> [(&'static str, Value<'a>); 19] {
        let text = |text: Option<&'a str>| Value::Text(text.map(Cow::Borrowed));
        let time = |seconds: Option<i64>| {
            let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            Value::Text(time.map(|time| Cow::Owned(time.to_rfc3339_opts(SecondsFormat::Secs, true))))
        };
        let label = Some(label(self)).filter(|label| !label.is_empty());
        [
            ("change", text(self.change.map(Change::name))),
            ("evidence", text(self.evidence)),
            ("account_id", text(self.account_id)),
            ("interface_id", text(self.interface_id)),
            ("srcport", Value::Number(self.srcport.map(i64::from))),
            ("dstport", Value::Number(self.dstport.map(i64::from))),
            ("protocol", Value::Number(self.protocol.map(i64::from))),
            ("action", text(self.action)),
            ("flows", Value::Number(self.flows)),
            ("packets", Value::Number(self.packets)),
            ("bytes", Value::Number(self.bytes)),
            ("first_seen", time(self.first_seen)),
            ("last_seen", time(self.last_seen)),
            ("tcp_flags", Value::Number(self.tcp_flags.map(i64::from))),
            ("flows_before", Value::Number(self.flows_before)),
            ("packets_before", Value::Number(self.packets_before)),
            ("bytes_before", Value::Number(self.bytes_before)),
            ("color", text(self.color())),
            ("label", Value::Text(label.map(Cow::Owned))),
        ]
    }
}

/// The value of an attribute, if the link has it.
pub(super) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
}

/// A column of one batch.
pub(super) trait Column: Sized {
    type Value<'a>
    where
        Self: 'a;
    /// The type that the column is cast to.
    fn data_type() -> DataType;
    fn new(array: &dyn Array) -> Result<Self>;
    fn value(&self, row: usize) -> Option<Self::Value<'_>>;

    fn find(batch: &RecordBatch, name: &str) -> Result<Option<Self>> {
        let Some(array) = batch.column_by_name(name) else { return Ok(None) };
        let read = || Self::new(&cast(array, &Self::data_type())?);
        read().context(|| format!("read column {name} of a graph")).map(Some)
    }
}

pub(super) struct Text(StringViewArray);

impl Column for Text {
    type Value<'a> = &'a str;

    fn data_type() -> DataType {
        DataType::Utf8View
    }

    fn new(array: &dyn Array) -> Result<Self> {
        Ok(Text(array.as_string_view().clone()))
    }

    fn value(&self, row: usize) -> Option<&str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

pub(super) struct Number<T: ArrowPrimitiveType>(PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> Column for Number<T> {
    type Value<'a> = T::Native;

    fn data_type() -> DataType {
        T::DATA_TYPE
    }

    fn new(array: &dyn Array) -> Result<Self> {
        Ok(Number(array.as_primitive::<T>().clone()))
    }

    fn value(&self, row: usize) -> Option<T::Native> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A time, in Unix seconds.
pub(super) struct Seconds(Number<Int64Type>);

impl Column for Seconds {
    type Value<'a> = i64;

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Second, Some("UTC".into()))
    }

    fn new(array: &dyn Array) -> Result<Self> {
        Ok(Seconds(Number::new(&cast(array, &DataType::Int64)?)?))
    }

    fn value(&self, row: usize) -> Option<i64> {
        self.0.value(row)
    }
}
