//! The port rule as SQL functions, so that `edges.sql` shows it: each port of a record, or 0 if it is ephemeral.

use super::column::{Parsed, column};
use super::{Argument, Definition, literal_text};
use crate::error::{Error, Result};
use crate::flow::PortRule;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt16Array};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, UInt8Type, UInt16Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

const ARGUMENTS: &[(&str, Argument)] = &[
    ("srcport", Argument::Port),
    ("dstport", Argument::Port),
    ("protocol", Argument::Octet),
    ("tcp_flags", Argument::Octet),
    ("action", Argument::Text),
    ("rule", Argument::Text),
];

pub(super) static KEPT_SRCPORT: Definition = Definition {
    name: "kept_srcport",
    arguments: ARGUMENTS,
    returns: DataType::UInt16,
    nullable: false,
    description: "The source port of a record, or 0 if the rule ('service' or 'lower') takes it for ephemeral. Never \
                  NULL: missing ports are 0, a missing protocol is 255.",
    example: "SELECT kept_srcport(srcport, dstport, protocol, tcp_flags, action, 'service') FROM flows",
    check: check_rule,
    run: |arguments, rows| keep(arguments, rows, |(source, _)| source),
};

pub(super) static KEPT_DSTPORT: Definition = Definition {
    name: "kept_dstport",
    arguments: ARGUMENTS,
    returns: DataType::UInt16,
    nullable: false,
    description: "The destination port of a record, or 0 if the rule ('service' or 'lower') takes it for ephemeral. \
                  Never NULL: missing ports are 0, a missing protocol is 255.",
    example: "SELECT kept_dstport(srcport, dstport, protocol, tcp_flags, action, 'service') FROM flows",
    check: check_rule,
    run: |arguments, rows| keep(arguments, rows, |(_, destination)| destination),
};

fn check_rule(literals: &[Option<&ScalarValue>]) -> Result<()> {
    literal_text(literals, 5).map_or(Ok(()), |rule| find_rule(rule).map(drop).ok_or_else(|| unknown_rule(Some(rule))))
}

fn find_rule(name: &str) -> Option<PortRule> {
    [PortRule::Service, PortRule::Lower].into_iter().find(|rule| rule.name() == name)
}

fn unknown_rule(name: Option<&str>) -> Error {
    let name = name.map_or("NULL".to_owned(), |name| format!("{name:?}"));
    Error::invalid(format!("{name} is not a port rule")).with_hint("write 'service' or 'lower'")
}

fn keep(arguments: &[ColumnarValue], rows: usize, side: fn((u16, u16)) -> u16) -> DfResult<ArrayRef> {
    let (sources, destinations) = (column(&arguments[0], rows)?, column(&arguments[1], rows)?);
    let (protocols, flags) = (column(&arguments[2], rows)?, column(&arguments[3], rows)?);
    let (sources, destinations) = (sources.as_primitive::<UInt16Type>(), destinations.as_primitive::<UInt16Type>());
    let (protocols, flags) = (protocols.as_primitive::<UInt8Type>(), flags.as_primitive::<UInt8Type>());
    let mut rejected = Parsed::new(&arguments[4], |action| Some(action == "REJECT"))?;
    let mut rules = Parsed::new(&arguments[5], find_rule)?;
    let mut kept = Vec::with_capacity(rows);
    for row in 0..rows {
        let rule = rules.get(row).ok_or_else(|| unknown_rule(rules.text(row)))?;
        let protocol = value(protocols, row).unwrap_or(255);
        let (source, destination) = (value(sources, row).unwrap_or(0), value(destinations, row).unwrap_or(0));
        let rejected = rejected.get(row) == Some(true);
        kept.push(side(rule.keep(protocol, source, destination, value(flags, row), rejected)));
    }
    Ok(Arc::new(UInt16Array::from(kept)))
}

#[inline]
fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}
