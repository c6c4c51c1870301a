//! The fields of a flow log record: names, versions and types. Pure data.
//!
//! Source: "Flow log records", Amazon VPC User Guide, versions 2 to 11 (54 fields, June 2026). A name that is not
//! here is no error anywhere: AWS adds fields about once a year.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// How a field is checked and what type its column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text as it stands.
    Text,
    /// An IPv4 or IPv6 address, printed canonically (RFC 5952).
    Address,
    /// A small number without a fixed range: `version`, `traffic-path`, `encryption-status`.
    Small,
    /// An octet, 0 to 255: `protocol`, `tcp-flags`.
    Octet,
    /// A port, 0 to 65535.
    Port,
    /// A counter, 0 to 2^63-1.
    Count,
    /// Unix time in seconds; values above 10^11 are milliseconds and are divided by 1000.
    Time,
}

impl Kind {
    /// Arrow type of the column.
    pub fn data_type(self) -> DataType {
        match self {
            Kind::Text | Kind::Address => DataType::Utf8View,
            Kind::Small => DataType::Int16,
            Kind::Octet => DataType::UInt8,
            Kind::Port => DataType::UInt16,
            Kind::Count => DataType::Int64,
            Kind::Time => DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
        }
    }

    /// Largest legal value of a number; 0 for text and addresses.
    pub const fn max(self) -> i64 {
        match self {
            Kind::Text | Kind::Address => 0,
            Kind::Small => i16::MAX as i64,
            Kind::Octet => u8::MAX as i64,
            Kind::Port => u16::MAX as i64,
            Kind::Count | Kind::Time => i64::MAX,
        }
    }
}

macro_rules! fields {
    ($($variant:ident $name:literal $version:literal $kind:ident $slot:literal;)*) => {
        /// One of the official fields, in the order of AWS's table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Field { $($variant),* }

        impl Field {
            /// Every field, in the order of AWS's table: the column order of `flows`.
            pub const ALL: [Field; 54] = [$(Field::$variant),*];

            /// The official name, as in the header of a text object (`interface-id`).
            pub const fn name(self) -> &'static str { match self { $(Field::$variant => $name),* } }

            /// The version of the format that introduced the field.
            pub const fn version(self) -> u8 { match self { $(Field::$variant => $version),* } }

            /// How the field is checked and typed.
            pub const fn kind(self) -> Kind { match self { $(Field::$variant => Kind::$kind),* } }

            /// Position among the fields that share its storage: texts, addresses, or numbers.
            pub const fn slot(self) -> usize { match self { $(Field::$variant => $slot),* } }
        }
    };
}

fields! {
    Version "version" 2 Small 0;
    AccountId "account-id" 2 Text 0;
    InterfaceId "interface-id" 2 Text 1;
    Srcaddr "srcaddr" 2 Address 0;
    Dstaddr "dstaddr" 2 Address 1;
    Srcport "srcport" 2 Port 1;
    Dstport "dstport" 2 Port 2;
    Protocol "protocol" 2 Octet 3;
    Packets "packets" 2 Count 4;
    Bytes "bytes" 2 Count 5;
    Start "start" 2 Time 6;
    End "end" 2 Time 7;
    Action "action" 2 Text 2;
    LogStatus "log-status" 2 Text 3;
    VpcId "vpc-id" 3 Text 4;
    SubnetId "subnet-id" 3 Text 5;
    InstanceId "instance-id" 3 Text 6;
    TcpFlags "tcp-flags" 3 Octet 8;
    Type "type" 3 Text 7;
    PktSrcaddr "pkt-srcaddr" 3 Address 2;
    PktDstaddr "pkt-dstaddr" 3 Address 3;
    Region "region" 4 Text 8;
    AzId "az-id" 4 Text 9;
    SublocationType "sublocation-type" 4 Text 10;
    SublocationId "sublocation-id" 4 Text 11;
    PktSrcAwsService "pkt-src-aws-service" 5 Text 12;
    PktDstAwsService "pkt-dst-aws-service" 5 Text 13;
    FlowDirection "flow-direction" 5 Text 14;
    TrafficPath "traffic-path" 5 Small 9;
    EcsClusterArn "ecs-cluster-arn" 7 Text 15;
    EcsClusterName "ecs-cluster-name" 7 Text 16;
    EcsContainerInstanceArn "ecs-container-instance-arn" 7 Text 17;
    EcsContainerInstanceId "ecs-container-instance-id" 7 Text 18;
    EcsContainerId "ecs-container-id" 7 Text 19;
    EcsSecondContainerId "ecs-second-container-id" 7 Text 20;
    EcsServiceName "ecs-service-name" 7 Text 21;
    EcsTaskDefinitionArn "ecs-task-definition-arn" 7 Text 22;
    EcsTaskArn "ecs-task-arn" 7 Text 23;
    EcsTaskId "ecs-task-id" 7 Text 24;
    RejectReason "reject-reason" 8 Text 25;
    ResourceId "resource-id" 9 Text 26;
    EncryptionStatus "encryption-status" 10 Small 10;
    InstanceTag "instance-tag" 11 Text 27;
    InstanceTag2 "instance-tag-2" 11 Text 28;
    InterfaceTag "interface-tag" 11 Text 29;
    InterfaceTag2 "interface-tag-2" 11 Text 30;
    AsgTag "asg-tag" 11 Text 31;
    AsgTag2 "asg-tag-2" 11 Text 32;
    InterfaceType "interface-type" 11 Text 33;
    NextHopInterfaceId "next-hop-interface-id" 11 Text 34;
    NextHopSubnetId "next-hop-subnet-id" 11 Text 35;
    NextHopAzId "next-hop-az-id" 11 Text 36;
    NextHopVpcId "next-hop-vpc-id" 11 Text 37;
    NextHopInterfaceType "next-hop-interface-type" 11 Text 38;
}

impl Field {
    /// How many fields are text.
    pub const TEXTS: usize = 39;
    /// How many fields are addresses.
    pub const ADDRESSES: usize = 4;
    /// How many fields are numbers (ports, octets, counters and times included).
    pub const NUMBERS: usize = 11;

    /// Finds a field by its official name, hyphened (text headers) or underscored (Parquet, SQL).
    pub fn find(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| {
            field.name().len() == name.len()
                && field.name().bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
        })
    }

    /// Name of the column in SQL and in Parquet: the official name with `_` for `-`.
    pub fn column(self) -> String {
        self.name().replace('-', "_")
    }
}

/// Header names that only transit gateway flow logs have: their objects are told apart by these.
pub const TRANSIT_GATEWAY_FIELDS: [&str; 2] = ["tgw-id", "resource-type"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn slots_of_each_storage_are_dense_and_unique() {
        let slots = |pick: fn(Kind) -> bool| {
            let slots: Vec<usize> = Field::ALL.iter().filter(|f| pick(f.kind())).map(|f| f.slot()).collect();
            assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "a slot is used twice");
            slots.iter().max().map_or(0, |max| max + 1)
        };
        assert_eq!(slots(|kind| kind == Kind::Text), Field::TEXTS);
        assert_eq!(slots(|kind| kind == Kind::Address), Field::ADDRESSES);
        assert_eq!(slots(|kind| !matches!(kind, Kind::Text | Kind::Address)), Field::NUMBERS);
    }

    #[test]
    fn a_field_is_found_by_both_spellings_and_only_by_its_whole_name() {
        for field in Field::ALL {
            assert_eq!(Field::find(field.name()), Some(field));
            assert_eq!(Field::find(&field.column()), Some(field));
        }
        assert_eq!(Field::find("tcp-flag"), None);
        assert_eq!(Field::find("brand-new-field"), None);
    }
}
