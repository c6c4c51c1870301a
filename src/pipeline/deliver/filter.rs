//! Which rows of a diff are told. In: the settings of a report, a row. Out: yes or no. Pure: no store, no clock.

use super::options::Report;
use super::row::Row;
use crate::error::{Error, Result};
use crate::flow::parse_address;
use crate::session::parse_cidr;
use ipnet::IpNet;
use std::net::IpAddr;

/// The actions of edges.
const ACTIONS: [&str; 3] = ["ACCEPT", "REJECT", "-"];

/// Decides whether a row is told.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    changes: Vec<&'static str>,
    unobserved: bool,
    min_bytes: u64,
    cidrs: Vec<IpNet>,
    ports: Vec<u16>,
    ignore: Vec<Ignore>,
}

#[derive(Clone, Debug)]
struct Ignore {
    cidr: Option<IpNet>,
    port: Option<u16>,
    protocol: Option<u8>,
    action: Option<String>,
}

impl Filter {
    /// Reads the filters of a report.
    ///
    /// # Errors
    /// `Invalid` for a network, a port or an action that is none, for a filter of what the grain of the report does not have,
    /// and for a rule that would ignore everything.
    pub(super) fn new(report: &Report) -> Result<Filter> {
        let parsed = |ignore: &super::options::Ignore| {
            let cidr = ignore.cidr.as_deref().map(parse_cidr).transpose()?;
            let parsed = Ignore { cidr, port: ignore.port, protocol: ignore.protocol, action: ignore.action.clone() };
            match parsed.cidr.is_none() && parsed.port.is_none() && parsed.protocol.is_none() && parsed.action.is_none()
            {
                true => Err(Error::invalid("a rule of ignore that sets nothing would ignore everything")),
                false => Ok(parsed),
            }
        };
        let filter = Filter {
            changes: report.changes.iter().map(|change| change.name()).collect(),
            unobserved: report.unobserved,
            min_bytes: report.min_bytes.unwrap_or(0),
            cidrs: report.cidrs.iter().map(|cidr| parse_cidr(cidr)).collect::<Result<_>>()?,
            ports: report.ports.clone(),
            ignore: report.ignore.iter().map(parsed).collect::<Result<_>>()?,
        };
        let mut ports = filter.ports.iter().chain(filter.ignore.iter().filter_map(|rule| rule.port.as_ref()));
        if ports.any(|port| *port == 0) {
            return Err(Error::invalid("port 0 stands for whatever port it was, and cannot be asked for"));
        }
        let mut actions = filter.ignore.iter().filter_map(|rule| rule.action.as_deref());
        if let Some(action) = actions.find(|action| !ACTIONS.contains(action)) {
            return Err(Error::invalid(format!("{action:?} is no action"))
                .with_hint("write ACCEPT, REJECT, or - for records that name none"));
        }
        let asks = |ask: fn(&Ignore) -> bool| filter.ignore.iter().any(ask);
        for (what, column, is_asked) in [
            ("cidrs", "srcaddr", !filter.cidrs.is_empty() || asks(|rule| rule.cidr.is_some())),
            ("ports", "srcport", !filter.ports.is_empty() || asks(|rule| rule.port.is_some())),
            ("a protocol", "protocol", asks(|rule| rule.protocol.is_some())),
            ("an action", "action", asks(|rule| rule.action.is_some())),
        ] {
            if is_asked && !report.by.key().contains(&column) {
                let grain = format!("{:?}", report.by).to_lowercase();
                return Err(Error::invalid(format!("rows by {grain} have no {column}: {what} cannot be asked for")));
            }
        }
        Ok(filter)
    }

    /// Whether a row is told.
    pub(super) fn wants(&self, row: &Row<&str>) -> bool {
        if !self.changes.is_empty() && !self.changes.contains(&row.change)
            || !self.unobserved && row.is_unobserved()
            || row.moved_bytes() < self.min_bytes
            || !self.ports.is_empty() && !row.ports().iter().flatten().any(|port| self.ports.contains(port))
        {
            return false;
        }
        if self.cidrs.is_empty() && self.ignore.is_empty() {
            return true;
        }
        let addresses = row.addresses().map(|text| parse_address(text?.as_bytes()));
        let has = |cidr: &IpNet| addresses.iter().flatten().any(|address: &IpAddr| cidr.contains(address));
        let is_ignored = |rule: &Ignore| {
            rule.cidr.as_ref().is_none_or(has)
                && rule.port.is_none_or(|port| row.ports().contains(&Some(port)))
                && rule.protocol.is_none_or(|protocol| row.protocol == Some(protocol))
                && rule.action.as_deref().is_none_or(|action| row.action == Some(action))
        };
        (self.cidrs.is_empty() || self.cidrs.iter().any(has)) && !self.ignore.iter().any(is_ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    fn wants(settings: &str, row: &Row<&str>) -> bool {
        let report: Report = toml::from_str(settings).unwrap();
        Filter::new(&report).unwrap().wants(row)
    }

    #[test]
    fn each_filter_asks_its_question() {
        let row = row();
        for (settings, wanted) in [
            ("", true),
            ("changes = [\"added\"]", true),
            ("changes = [\"removed\", \"changed\"]", false),
            ("min_bytes = 1200", true),
            ("min_bytes = 1201", false),
            ("cidrs = [\"192.0.2.0/24\", \"10.1.0.0/16\"]", true),
            ("cidrs = [\"10.2.0.0/16\"]", false),
            ("cidrs = [\"::/0\"]", false),
            ("ports = [22, 443]", true),
            ("ports = [22]", false),
            ("ignore = [{ port = 443 }]", false),
            ("ignore = [{ port = 443, protocol = 17 }]", true),
            ("ignore = [{ port = 443, protocol = 6, action = \"ACCEPT\", cidr = \"10.0.0.0/8\" }]", false),
            ("ignore = [{ action = \"REJECT\" }, { cidr = \"198.51.100.0/24\" }]", false),
            ("cidrs = [\"10.0.0.0/8\"]\nignore = [{ cidr = \"172.16.0.0/12\" }]", true),
        ] {
            assert_eq!(wants(settings, &row), wanted, "{settings}");
        }
    }

    #[test]
    fn what_may_only_have_been_out_of_sight_is_told_where_it_is_asked_for() {
        for evidence in ["unobserved_before", "unobserved_after"] {
            let row = Row { evidence, ..row() };
            assert!(!wants("", &row));
            assert!(wants("unobserved = true", &row));
        }
    }

    #[test]
    fn the_bytes_of_a_change_are_those_that_moved() {
        let row = Row { change: "changed", evidence: "volume", bytes: 1200, bytes_before: Some(1000), ..row() };
        assert!(wants("min_bytes = 200", &row));
        assert!(!wants("min_bytes = 201", &row));
    }
}
