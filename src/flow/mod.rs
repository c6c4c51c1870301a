//! What a flow and an edge are: the table of fields, Arrow schemas, key columns, sort order, the port rule. No I/O.

mod address;
mod edge;
mod field;
mod port;
mod protocol;
mod service;

pub use address::{AddressText, parse_address, text_order};
pub use edge::{EDGE_KEY, Edge, EdgeKey, edges_schema, flows_column, flows_schema, interfaces_schema, objects_schema};
pub use field::{Field, Kind, TRANSIT_GATEWAY_FIELDS};
pub use port::{AddressRule, PortRule};
pub use protocol::protocol_name;
pub use service::{is_service, service_name};
