//! Reads the arguments of a kernel row by row. In: a column or a literal. Out: one value a row, parsed once where it
//! stays the same.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

/// A text argument: a literal or a column.
enum Texts<'a> {
    Literal(Option<&'a str>),
    Column(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    fn new(argument: &'a ColumnarValue) -> Result<Texts<'a>> {
        match argument {
            ColumnarValue::Scalar(value) => match value.try_as_str() {
                Some(text) => Ok(Texts::Literal(text)),
                None => internal_err!("a text argument was coerced to {}", value.data_type()),
            },
            ColumnarValue::Array(array) => match array.as_string_view_opt() {
                Some(array) => Ok(Texts::Column(array)),
                None => internal_err!("a text column was coerced to {}", array.data_type()),
            },
        }
    }

    #[inline]
    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Texts::Literal(text) => *text,
            Texts::Column(array) if array.is_null(row) => None,
            Texts::Column(array) => Some(array.value(row)),
        }
    }
}

/// A text argument and what it parses to.
///
/// The last text is kept with its value: a literal is parsed once a batch, and so is a run of equal texts, which sorted
/// columns are made of.
pub(super) struct Parsed<'a, T, P> {
    texts: Texts<'a>,
    parse: P,
    last: Option<(&'a str, Option<T>)>,
}

impl<'a, T: Copy, P: Fn(&str) -> Option<T>> Parsed<'a, T, P> {
    pub(super) fn new(argument: &'a ColumnarValue, parse: P) -> Result<Self> {
        Ok(Parsed { texts: Texts::new(argument)?, parse, last: None })
    }

    /// The value of a row; `None` if it is NULL or cannot be parsed.
    #[inline]
    pub(super) fn get(&mut self, row: usize) -> Option<T> {
        let text = self.texts.get(row)?;
        match self.last {
            Some((last, value)) if std::ptr::eq(last, text) || last == text => value,
            _ => {
                let value = (self.parse)(text);
                self.last = Some((text, value));
                value
            }
        }
    }

    /// The text of a row, for messages.
    pub(super) fn text(&self, row: usize) -> Option<&'a str> {
        self.texts.get(row)
    }
}

/// An argument as a column of `rows` values, a literal repeated.
pub(super) fn column(argument: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
    argument.to_array(rows)
}
