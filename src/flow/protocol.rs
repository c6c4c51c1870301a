//! Names of IP protocol numbers. In: a number. Out: its keyword, lower case. Pure data.

/// Name of an IP protocol number, lower case (`tcp`, `ipv6-icmp`); `None` where none is assigned.
///
/// The names are IANA's keywords, with `ospf` for `OSPFIGP`, as everybody writes it. Numbers that are set apart without
/// a keyword ("any local network", experiments, 255 "reserved") have no name.
///
/// Source: IANA, "Assigned Internet Protocol Numbers".
pub fn protocol_name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number)).copied().filter(|name| !name.is_empty())
}

/// By number, from 0 to the last one assigned (147); empty where there is no keyword.
#[rustfmt::skip]
static NAMES: [&str; 148] = [
    /*   0 */ "hopopt", "icmp", "igmp", "ggp", "ipv4", "st", "tcp", "cbt", "egp", "igp",
    /*  10 */ "bbn-rcc-mon", "nvp-ii", "pup", "argus", "emcon", "xnet", "chaos", "udp", "mux", "dcn-meas",
    /*  20 */ "hmp", "prm", "xns-idp", "trunk-1", "trunk-2", "leaf-1", "leaf-2", "rdp", "irtp", "iso-tp4",
    /*  30 */ "netblt", "mfe-nsp", "merit-inp", "dccp", "3pc", "idpr", "xtp", "ddp", "idpr-cmtp", "tp++",
    /*  40 */ "il", "ipv6", "sdrp", "ipv6-route", "ipv6-frag", "idrp", "rsvp", "gre", "dsr", "bna",
    /*  50 */ "esp", "ah", "i-nlsp", "swipe", "narp", "min-ipv4", "tlsp", "skip", "ipv6-icmp", "ipv6-nonxt",
    /*  60 */ "ipv6-opts", "", "cftp", "", "sat-expak", "kryptolan", "rvd", "ippc", "", "sat-mon",
    /*  70 */ "visa", "ipcv", "cpnx", "cphb", "wsn", "pvp", "br-sat-mon", "sun-nd", "wb-mon", "wb-expak",
    /*  80 */ "iso-ip", "vmtp", "secure-vmtp", "vines", "iptm", "nsfnet-igp", "dgp", "tcf", "eigrp", "ospf",
    /*  90 */ "sprite-rpc", "larp", "mtp", "ax.25", "ipip", "micp", "scc-sp", "etherip", "encap", "",
    /* 100 */ "gmtp", "ifmp", "pnni", "pim", "aris", "scps", "qnx", "a/n", "ipcomp", "snp",
    /* 110 */ "compaq-peer", "ipx-in-ip", "vrrp", "pgm", "", "l2tp", "ddx", "iatp", "stp", "srp",
    /* 120 */ "uti", "smp", "sm", "ptp", "isis-over-ipv4", "fire", "crtp", "crudp", "sscopmce", "iplt",
    /* 130 */ "sps", "pipe", "sctp", "fc", "rsvp-e2e-ignore",
              "mobility-header", "udplite", "mpls-in-ip", "manet", "hip",
    /* 140 */ "shim6", "wesp", "rohc", "ethernet", "aggfrag", "nsh", "homa", "bit-emu",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_own_name() {
        for (number, name) in [
            (0, "hopopt"),
            (1, "icmp"),
            (6, "tcp"),
            (17, "udp"),
            (41, "ipv6"),
            (47, "gre"),
            (50, "esp"),
            (58, "ipv6-icmp"),
            (70, "visa"),
            (89, "ospf"),
            (100, "gmtp"),
            (112, "vrrp"),
            (115, "l2tp"),
            (132, "sctp"),
            (143, "ethernet"),
            (147, "bit-emu"),
        ] {
            assert_eq!(protocol_name(number), Some(name), "{number}");
        }
    }

    #[test]
    fn numbers_without_a_keyword_have_no_name() {
        for number in [61, 63, 68, 99, 114, 148, 253, 254, 255] {
            assert_eq!(protocol_name(number), None, "{number}");
        }
    }

    #[test]
    fn names_are_lower_case_and_unique() {
        let named: Vec<&str> = (0..=255).filter_map(protocol_name).collect();
        assert_eq!(named.len(), 143);
        assert_eq!(named.iter().collect::<std::collections::BTreeSet<_>>().len(), named.len());
        assert!(named.iter().all(|name| name.to_lowercase() == *name));
    }
}
