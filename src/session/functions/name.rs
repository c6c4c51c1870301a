//! Functions that name numbers: protocols and services.

use super::column::column;
use super::{Argument, Definition, any};
use crate::flow;
use datafusion::arrow::array::{ArrayRef, AsArray, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

pub(super) static PROTOCOL_NAME: Definition = Definition {
    name: "protocol_name",
    arguments: &[("protocol", Argument::Number)],
    returns: DataType::Utf8View,
    nullable: true,
    description: "Name of an IP protocol number, lower case: tcp for 6. NULL where IANA assigned none.",
    example: "SELECT protocol_name(protocol), sum(bytes) FROM flows GROUP BY 1",
    check: any,
    run: protocol_name,
};

pub(super) static SERVICE_NAME: Definition = Definition {
    name: "service_name",
    arguments: &[("port", Argument::Number), ("protocol", Argument::Number)],
    returns: DataType::Utf8View,
    nullable: true,
    description: "Name of the service that commonly listens on a port of a protocol: https for port 443 of protocol 6. \
                  NULL where none is known.",
    example: "SELECT service_name(dstport, protocol), count(*) FROM edges GROUP BY 1",
    check: any,
    run: service_name,
};

fn protocol_name(arguments: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
    let numbers = column(&arguments[0], rows)?;
    let numbers = numbers.as_primitive::<Int64Type>().iter();
    let names = numbers.map(|number| flow::protocol_name(u8::try_from(number?).ok()?));
    Ok(Arc::new(names.collect::<StringViewArray>()))
}

fn service_name(arguments: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
    let (ports, protocols) = (column(&arguments[0], rows)?, column(&arguments[1], rows)?);
    let pairs = ports.as_primitive::<Int64Type>().iter().zip(protocols.as_primitive::<Int64Type>());
    let names =
        pairs.map(|(port, protocol)| flow::service_name(u16::try_from(port?).ok()?, u8::try_from(protocol?).ok()?));
    Ok(Arc::new(names.collect::<StringViewArray>()))
}
