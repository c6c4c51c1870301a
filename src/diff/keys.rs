//! The key columns of a batch: compared row by row and in runs, on the columns as they lie, without allocation.

use crate::error::{Error, Result};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringViewArray, UInt8Array, UInt16Array};
use datafusion::arrow::datatypes::{DataType, UInt8Type, UInt16Type};
use std::cmp::Ordering;

/// One key column. Text compares by its bytes, as it is sorted in the files.
#[derive(Debug)]
pub(super) enum KeyColumn {
    Text(StringViewArray),
    Port(UInt16Array),
    Number(UInt8Array),
}

/// The key columns of one batch, most significant first.
#[derive(Debug)]
pub(super) struct Keys(Vec<KeyColumn>);

impl Keys {
    /// Takes the columns `names` of `batch`.
    ///
    /// # Errors
    /// `Data` if one is missing, has another type than the key columns of edges have, or holds a null.
    pub(super) fn new(batch: &RecordBatch, names: &[&str]) -> Result<Keys> {
        let column = |name: &&str| {
            let array = batch.column_by_name(name).ok_or_else(|| Error::data(format!("column {name} is missing")))?;
            if array.null_count() > 0 {
                return Err(Error::data(format!("key column {name} holds a null")));
            }
            match array.data_type() {
                DataType::Utf8View => Ok(KeyColumn::Text(array.as_string_view().clone())),
                DataType::UInt16 => Ok(KeyColumn::Port(array.as_primitive::<UInt16Type>().clone())),
                DataType::UInt8 => Ok(KeyColumn::Number(array.as_primitive::<UInt8Type>().clone())),
                other => Err(Error::data(format!("key column {name} is {other}, which no key column of an edge is"))),
            }
        };
        Ok(Keys(names.iter().map(column).collect::<Result<_>>()?))
    }

    pub(super) fn columns(&self) -> &[KeyColumn] {
        &self.0
    }

    /// The text of a key column that is text, else nothing.
    pub(super) fn text(&self, column: usize, row: usize) -> Option<&str> {
        match self.0.get(column) {
            Some(KeyColumn::Text(array)) => Some(array.value(row)),
            _ => None,
        }
    }

    /// Compares a row with a row of another batch of the same columns.
    pub(super) fn compare(&self, row: usize, other: &Keys, other_row: usize) -> Ordering {
        for (left, right) in self.0.iter().zip(&other.0) {
            let order = match (left, right) {
                (KeyColumn::Text(left), KeyColumn::Text(right)) => {
                    if text_equal(left, row, right, other_row) {
                        continue;
                    }
                    left.value(row).as_bytes().cmp(right.value(other_row).as_bytes())
                }
                (KeyColumn::Port(left), KeyColumn::Port(right)) => left.value(row).cmp(&right.value(other_row)),
                (KeyColumn::Number(left), KeyColumn::Number(right)) => left.value(row).cmp(&right.value(other_row)),
                _ => unreachable_types(),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }

    /// How many rows from `row` on equal, one by one, the rows of `other` from `other_row` on; `limit` at most.
    ///
    /// Goes column by column, each only as far as the columns before it were equal.
    pub(super) fn equal_run(&self, row: usize, other: &Keys, other_row: usize, limit: usize) -> usize {
        let mut run = limit;
        for (left, right) in self.0.iter().zip(&other.0) {
            run = match (left, right) {
                (KeyColumn::Text(left), KeyColumn::Text(right)) => text_run(left, row, right, other_row, run),
                (KeyColumn::Port(left), KeyColumn::Port(right)) => {
                    value_run(&left.values()[row..row + run], &right.values()[other_row..other_row + run])
                }
                (KeyColumn::Number(left), KeyColumn::Number(right)) => {
                    value_run(&left.values()[row..row + run], &right.values()[other_row..other_row + run])
                }
                _ => unreachable_types(),
            };
            if run == 0 {
                return 0;
            }
        }
        run
    }
}

/// Both sides of a merge take the same columns, whose types [`Keys::new`] maps one to one.
fn unreachable_types() -> ! {
    unreachable!("both sides of a merge have the same key columns")
}

fn value_run<T: PartialEq>(left: &[T], right: &[T]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Rows of two text columns that are equal one by one.
///
/// Sorted columns repeat themselves: where both sides hold the same view as the row before, nothing is compared.
fn text_run(left: &StringViewArray, row: usize, right: &StringViewArray, other_row: usize, limit: usize) -> usize {
    let (lefts, rights) = (&left.views()[row..row + limit], &right.views()[other_row..other_row + limit]);
    let mut known = None;
    for (at, views) in lefts.iter().zip(rights).enumerate() {
        if known == Some(views) {
            continue;
        }
        if !text_equal(left, row + at, right, other_row + at) {
            return at;
        }
        known = Some(views);
    }
    limit
}

/// Whether two texts are equal. A view holds the length and the first four bytes, and up to twelve bytes all of them.
#[inline]
fn text_equal(left: &StringViewArray, row: usize, right: &StringViewArray, other_row: usize) -> bool {
    const INLINE_MAX: u32 = 12;
    let (a, b) = (left.views()[row], right.views()[other_row]);
    if a as u32 <= INLINE_MAX {
        a == b
    } else {
        a as u64 == b as u64 && left.value(row).as_bytes() == right.value(other_row).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::ArrayRef;
    use std::sync::Arc;

    fn keys(rows: &[(&str, u16)]) -> Keys {
        let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.0)));
        let port: ArrayRef = Arc::new(UInt16Array::from_iter_values(rows.iter().map(|row| row.1)));
        let batch = RecordBatch::try_from_iter([("text", text), ("port", port)]).unwrap();
        Keys::new(&batch, &["text", "port"]).unwrap()
    }

    #[test]
    fn text_compares_by_its_bytes_whether_inline_or_not() {
        let left = keys(&[("10.0.0.1", 1), ("2001:db8::1:ffff:1", 1), ("2001:db8::1:ffff:1", 2), ("9", 0)]);
        let right = keys(&[("10.0.0.1", 1), ("2001:db8::1:ffff:2", 1), ("2001:db8::1:ffff:1", 1), ("10.0.0.1", 7)]);
        let orders: Vec<Ordering> = (0..4).map(|row| left.compare(row, &right, row)).collect();
        assert_eq!(orders, [Ordering::Equal, Ordering::Less, Ordering::Greater, Ordering::Greater]);
    }

    #[test]
    fn a_run_ends_at_the_first_row_that_differs_in_any_column() {
        let left = keys(&[("x", 0), ("an address that is long", 1), ("an address that is long", 2), ("b", 3)]);
        let right = keys(&[("an address that is long", 1), ("an address that is long", 2), ("b", 4)]);
        assert_eq!(left.equal_run(1, &right, 0, 3), 2);
        assert_eq!(left.equal_run(1, &right, 0, 1), 1);
        assert_eq!(left.equal_run(0, &right, 0, 3), 0);
    }

    #[test]
    fn a_key_column_without_a_value_or_a_place_is_refused() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
        assert_eq!(Keys::new(&batch, &["text"]).unwrap_err().to_string(), "key column text holds a null");
        assert_eq!(Keys::new(&batch, &["port"]).unwrap_err().to_string(), "column port is missing");
    }
}
