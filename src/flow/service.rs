//! Ports that services commonly listen on: the evidence for which end of a flow serves. In: a port. Out: whether a
//! service is likely behind it, and which. Pure data.
//!
//! A port is in the table because servers really listen on it by default, not because it is registered: of the several
//! thousand registered ports most are never served, and each port in the table is one that a client may draw at random
//! and be taken for a server. Ports from 32768 up, where clients draw theirs, are in it only if they are widely used.

use Transport::{Both, Tcp, Udp};

/// Whether services commonly listen on `port`. One lookup in a bitmap.
#[inline]
pub fn is_service(port: u16) -> bool {
    BITMAP[usize::from(port / 64)] >> (port % 64) & 1 != 0
}

/// Name of the service that commonly listens on `port` of `protocol` (an IANA number: 6 is TCP, 17 UDP); `None` where
/// none does, and for protocols without ports.
///
/// The name is IANA's where the registered service is the one that is met there, else that of the product.
pub fn service_name(port: u16, protocol: u8) -> Option<&'static str> {
    let index = SERVICES.binary_search_by_key(&port, |(port, ..)| *port).ok()?;
    let (_, transport, name) = SERVICES[index];
    match protocol {
        6 => transport != Udp,
        17 => transport != Tcp,
        _ => false,
    }
    .then_some(name)
}

/// Which transports the service of a port uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
    Both,
}

/// One bit for each of the 65536 ports: 8 KiB, which stay in the first cache while records are folded.
static BITMAP: [u64; 1024] = {
    let mut bitmap = [0; 1024];
    let mut index = 0;
    while index < SERVICES.len() {
        let port = SERVICES[index].0;
        bitmap[port as usize / 64] |= 1 << (port % 64);
        index += 1;
    }
    bitmap
};

/// Port, transports, name; sorted by port, each port once.
///
/// Source: IANA, "Service Name and Transport Protocol Port Number Registry", and for what it does not name the vendors'
/// documentation of their default ports (Kubernetes, HashiCorp, Apache, Elastic, Oracle, Microsoft, AWS, ...).
#[rustfmt::skip]
const SERVICES: &[(u16, Transport, &str)] = &[
    (7, Both, "echo"), (9, Both, "discard"), (13, Both, "daytime"), (17, Tcp, "qotd"), (19, Both, "chargen"),
    (20, Tcp, "ftp-data"), (21, Tcp, "ftp"), (22, Tcp, "ssh"), (23, Tcp, "telnet"), (25, Tcp, "smtp"),
    (37, Both, "time"), (42, Both, "nameserver"), (43, Tcp, "nicname"), (49, Both, "tacacs"), (53, Both, "domain"),
    (67, Udp, "bootps"), (68, Udp, "bootpc"), (69, Udp, "tftp"), (70, Tcp, "gopher"), (79, Tcp, "finger"),
    (80, Both, "http"), (81, Tcp, "http-alt"), (88, Both, "kerberos"), (102, Tcp, "iso-tsap"),
    (104, Tcp, "acr-nema"), (110, Tcp, "pop3"), (111, Both, "sunrpc"), (113, Tcp, "ident"), (119, Tcp, "nntp"),
    (123, Udp, "ntp"), (135, Both, "epmap"), (137, Udp, "netbios-ns"), (138, Udp, "netbios-dgm"),
    (139, Tcp, "netbios-ssn"), (143, Tcp, "imap"), (161, Both, "snmp"), (162, Both, "snmptrap"),
    (177, Udp, "xdmcp"), (179, Tcp, "bgp"), (194, Tcp, "irc"), (199, Tcp, "smux"), (319, Udp, "ptp-event"),
    (320, Udp, "ptp-general"), (389, Both, "ldap"), (427, Both, "svrloc"), (443, Both, "https"), (444, Tcp, "snpp"),
    (445, Tcp, "microsoft-ds"), (464, Both, "kpasswd"), (465, Tcp, "submissions"), (500, Udp, "isakmp"),
    (502, Tcp, "mbap"), (512, Tcp, "exec"), (513, Tcp, "login"), (514, Both, "syslog"), (515, Tcp, "printer"),
    (520, Udp, "router"), (521, Udp, "ripng"), (523, Both, "ibm-db2"), (524, Tcp, "ncp"), (540, Tcp, "uucp"),
    (543, Tcp, "klogin"), (544, Tcp, "kshell"), (546, Udp, "dhcpv6-client"), (547, Udp, "dhcpv6-server"),
    (548, Tcp, "afpovertcp"), (554, Both, "rtsp"), (563, Tcp, "nntps"), (587, Tcp, "submission"),
    (593, Tcp, "http-rpc-epmap"), (623, Both, "asf-rmcp"), (631, Both, "ipp"), (636, Both, "ldaps"),
    (646, Both, "ldp"), (655, Both, "tinc"), (664, Both, "asf-secure-rmcp"), (749, Tcp, "kerberos-adm"),
    (750, Both, "kerberos-iv"), (783, Tcp, "spamd"), (830, Tcp, "netconf-ssh"), (853, Both, "domain-s"),
    (860, Tcp, "iscsi"), (862, Both, "twamp-control"), (873, Tcp, "rsync"), (902, Both, "vmware-auth"),
    (953, Tcp, "rndc"), (989, Tcp, "ftps-data"), (990, Tcp, "ftps"), (992, Tcp, "telnets"), (993, Tcp, "imaps"),
    (994, Tcp, "ircs"), (995, Tcp, "pop3s"), (1080, Tcp, "socks"), (1099, Tcp, "rmiregistry"),
    (1194, Both, "openvpn"), (1270, Tcp, "opsmgr"), (1311, Tcp, "dell-openmanage"), (1344, Tcp, "icap"),
    (1352, Tcp, "lotusnote"), (1414, Tcp, "ibm-mqseries"), (1433, Tcp, "ms-sql-s"), (1434, Udp, "ms-sql-m"),
    (1494, Tcp, "ica"), (1521, Tcp, "oracle-tns"), (1522, Tcp, "oracle-tns-alt"), (1645, Udp, "radius-old"),
    (1646, Udp, "radius-acct-old"), (1688, Tcp, "kms"), (1701, Udp, "l2tp"), (1720, Tcp, "h323hostcall"),
    (1723, Tcp, "pptp"), (1755, Tcp, "ms-streaming"), (1812, Both, "radius"), (1813, Both, "radius-acct"),
    (1883, Tcp, "mqtt"), (1900, Udp, "ssdp"), (1935, Tcp, "rtmp"), (1985, Udp, "hsrp"), (2049, Both, "nfs"),
    (2055, Udp, "netflow"), (2082, Tcp, "cpanel"), (2083, Tcp, "cpanel-ssl"), (2086, Tcp, "whm"),
    (2087, Tcp, "whm-ssl"), (2095, Tcp, "webmail"), (2096, Tcp, "webmail-ssl"), (2123, Udp, "gtp-control"),
    (2152, Udp, "gtp-user"), (2181, Tcp, "zookeeper"), (2222, Tcp, "ssh-alt"), (2281, Tcp, "zookeeper-ssl"),
    (2375, Tcp, "docker"), (2376, Tcp, "docker-s"), (2377, Tcp, "swarm"), (2379, Tcp, "etcd-client"),
    (2380, Tcp, "etcd-server"), (2381, Tcp, "etcd-metrics"), (2404, Tcp, "iec-104"), (2424, Tcp, "orientdb-binary"),
    (2480, Tcp, "orientdb-http"), (2483, Tcp, "oracle-ttc"), (2484, Tcp, "oracle-ttc-ssl"), (2525, Tcp, "smtp-alt"),
    (2598, Tcp, "citrix-cgp"), (2638, Tcp, "sybase-anywhere"), (2775, Tcp, "smpp"), (2888, Tcp, "zookeeper-quorum"),
    (3000, Tcp, "http-app"), (3001, Tcp, "http-app-alt"), (3022, Tcp, "teleport-ssh"),
    (3023, Tcp, "teleport-proxy"), (3024, Tcp, "teleport-tunnel"), (3025, Tcp, "teleport-auth"),
    (3050, Tcp, "gds-db"), (3100, Tcp, "loki"), (3128, Tcp, "squid"), (3200, Tcp, "sap-dispatcher"),
    (3205, Both, "isns"), (3260, Tcp, "iscsi-target"), (3268, Tcp, "msft-gc"), (3269, Tcp, "msft-gc-ssl"),
    (3299, Tcp, "saprouter"), (3300, Tcp, "ceph-mon"), (3306, Tcp, "mysql"), (3343, Udp, "ms-cluster-net"),
    (3389, Both, "ms-wbt-server"), (3391, Udp, "ms-rd-gateway"), (3478, Both, "stun"), (3493, Tcp, "nut"),
    (3551, Tcp, "apcupsd"), (3600, Tcp, "sap-message-server"), (3632, Tcp, "distcc"), (3689, Tcp, "daap"),
    (3690, Tcp, "svn"), (3702, Udp, "ws-discovery"), (3868, Tcp, "diameter"), (3888, Tcp, "zookeeper-election"),
    (4000, Tcp, "http-app-4000"), (4001, Tcp, "etcd-legacy"), (4040, Tcp, "spark-ui"), (4046, Tcp, "nfs-lockd"),
    (4100, Tcp, "sybase"), (4172, Both, "pcoip"), (4190, Tcp, "sieve"), (4194, Tcp, "cadvisor"),
    (4222, Tcp, "nats"), (4242, Tcp, "opentsdb"), (4244, Tcp, "hubble-peer"), (4245, Tcp, "hubble-relay"),
    (4317, Tcp, "otlp-grpc"), (4318, Tcp, "otlp-http"), (4369, Tcp, "epmd"), (4444, Tcp, "galera-sst"),
    (4460, Tcp, "ntske"), (4500, Udp, "ipsec-nat-t"), (4505, Tcp, "salt-publish"), (4506, Tcp, "salt-request"),
    (4567, Both, "galera"), (4568, Tcp, "galera-ist"), (4569, Udp, "iax"), (4646, Tcp, "nomad-http"),
    (4647, Tcp, "nomad-rpc"), (4648, Both, "nomad-serf"), (4730, Tcp, "gearman"), (4739, Both, "ipfix"),
    (4740, Both, "ipfixs"), (4786, Tcp, "cisco-smart-install"), (4789, Udp, "vxlan"), (4840, Tcp, "opcua-tcp"),
    (4848, Tcp, "glassfish-admin"), (4899, Tcp, "radmin-port"), (4949, Tcp, "munin"), (5000, Tcp, "http-registry"),
    (5001, Tcp, "iperf"), (5004, Udp, "rtp-media"), (5005, Udp, "rtcp"), (5044, Tcp, "beats"), (5060, Both, "sip"),
    (5061, Both, "sip-tls"), (5140, Both, "syslog-alt"), (5201, Both, "iperf3"), (5222, Tcp, "xmpp-client"),
    (5223, Tcp, "xmpp-client-ssl"), (5228, Tcp, "gcm"), (5246, Udp, "capwap-control"), (5247, Udp, "capwap-data"),
    (5269, Tcp, "xmpp-server"), (5280, Tcp, "xmpp-bosh"), (5349, Both, "turns"), (5351, Udp, "nat-pmp"),
    (5353, Udp, "mdns"), (5355, Udp, "llmnr"), (5357, Tcp, "wsdapi"), (5432, Tcp, "postgresql"),
    (5433, Tcp, "postgresql-alt"), (5439, Tcp, "redshift"), (5443, Tcp, "https-alt"), (5480, Tcp, "vcenter-vami"),
    (5500, Tcp, "vnc-listen"), (5555, Tcp, "adb"), (5556, Tcp, "freeciv"), (5601, Tcp, "kibana"),
    (5631, Tcp, "pcanywhere-data"), (5632, Udp, "pcanywhere-stat"), (5666, Tcp, "nrpe"), (5667, Tcp, "nsca"),
    (5671, Tcp, "amqps"), (5672, Tcp, "amqp"), (5683, Udp, "coap"), (5684, Udp, "coaps"), (5693, Tcp, "ncpa"),
    (5701, Tcp, "hazelcast"), (5722, Tcp, "ms-dfsr"), (5775, Udp, "jaeger-zipkin"), (5778, Tcp, "jaeger-config"),
    (5800, Tcp, "vnc-http"), (5900, Tcp, "vnc"), (5901, Tcp, "vnc-1"), (5902, Tcp, "vnc-2"),
    (5938, Both, "teamviewer"), (5984, Tcp, "couchdb"), (5985, Tcp, "winrm"), (5986, Tcp, "winrm-ssl"),
    (6000, Tcp, "x11"), (6001, Tcp, "x11-1"), (6010, Tcp, "x11-ssh"), (6032, Tcp, "proxysql-admin"),
    (6033, Tcp, "proxysql"), (6060, Tcp, "pprof"), (6080, Tcp, "novnc"), (6081, Udp, "geneve"),
    (6082, Tcp, "varnish-admin"), (6123, Tcp, "flink-rpc"), (6160, Tcp, "veeam-installer"),
    (6162, Tcp, "veeam-transport"), (6343, Udp, "sflow"), (6379, Tcp, "redis"), (6380, Tcp, "redis-tls"),
    (6381, Tcp, "redis-replica"), (6432, Tcp, "pgbouncer"), (6443, Tcp, "kubernetes-api"),
    (6444, Tcp, "sge-qmaster"), (6445, Tcp, "sge-execd"), (6446, Tcp, "mysql-router-rw"),
    (6447, Tcp, "mysql-router-ro"), (6481, Tcp, "sun-ilom"), (6514, Both, "syslog-tls"),
    (6556, Tcp, "checkmk-agent"), (6566, Tcp, "sane-port"), (6600, Tcp, "hyper-v-migration"),
    (6633, Tcp, "openflow-old"), (6640, Tcp, "ovsdb"), (6641, Tcp, "ovn-northbound"), (6642, Tcp, "ovn-southbound"),
    (6650, Tcp, "pulsar"), (6651, Tcp, "pulsar-ssl"), (6653, Tcp, "openflow"), (6666, Tcp, "irc-6666"),
    (6667, Tcp, "ircd"), (6697, Tcp, "ircs-u"), (6783, Both, "weave-control"), (6784, Udp, "weave-data"),
    (6789, Tcp, "ceph-mon-v1"), (6800, Tcp, "ceph-osd"), (6831, Udp, "jaeger-compact"),
    (6832, Udp, "jaeger-binary"), (6881, Both, "bittorrent"), (7000, Tcp, "cassandra-storage"),
    (7001, Tcp, "weblogic"), (7002, Tcp, "weblogic-ssl"), (7003, Udp, "afs3-vlserver"), (7070, Tcp, "realserver"),
    (7077, Tcp, "spark-master"), (7078, Tcp, "spark-worker"), (7180, Tcp, "cloudera-manager"),
    (7182, Tcp, "cloudera-agent"), (7183, Tcp, "cloudera-manager-ssl"), (7199, Tcp, "cassandra-jmx"),
    (7233, Tcp, "temporal"), (7337, Tcp, "spark-shuffle"), (7443, Tcp, "https-7443"), (7473, Tcp, "neo4j-https"),
    (7474, Tcp, "neo4j-http"), (7547, Tcp, "cwmp"), (7600, Tcp, "jgroups"), (7680, Tcp, "ms-delivery-opt"),
    (7687, Tcp, "bolt"), (7700, Tcp, "meilisearch"), (7777, Tcp, "oracle-http"), (7946, Both, "swarm-gossip"),
    (8000, Tcp, "http-8000"), (8001, Tcp, "http-8001"), (8002, Tcp, "http-8002"), (8005, Tcp, "tomcat-shutdown"),
    (8006, Tcp, "proxmox"), (8008, Tcp, "http-8008"), (8009, Tcp, "ajp"), (8020, Tcp, "hdfs-namenode"),
    (8021, Tcp, "mapreduce-jobtracker"), (8030, Tcp, "yarn-scheduler"), (8031, Tcp, "yarn-tracker"),
    (8032, Tcp, "yarn-resourcemanager"), (8033, Tcp, "yarn-admin"), (8040, Tcp, "yarn-localizer"),
    (8041, Tcp, "yarn-nodemanager"), (8042, Tcp, "yarn-nodemanager-http"), (8069, Tcp, "odoo"),
    (8080, Tcp, "http-alt"), (8081, Tcp, "http-8081"), (8082, Tcp, "http-8082"), (8083, Tcp, "kafka-connect"),
    (8085, Tcp, "http-8085"), (8086, Tcp, "influxdb"), (8088, Tcp, "yarn-http"), (8089, Tcp, "splunkd"),
    (8090, Tcp, "http-8090"), (8091, Tcp, "couchbase-http"), (8093, Tcp, "couchbase-query"),
    (8094, Tcp, "couchbase-search"), (8098, Tcp, "riak-http"), (8111, Tcp, "teamcity"), (8118, Tcp, "privoxy"),
    (8123, Tcp, "clickhouse-http"), (8125, Udp, "statsd"), (8126, Tcp, "datadog-apm"), (8140, Tcp, "puppet"),
    (8153, Tcp, "gocd"), (8161, Tcp, "activemq-http"), (8172, Tcp, "ms-web-deploy"), (8181, Tcp, "http-8181"),
    (8182, Tcp, "gremlin"), (8188, Tcp, "yarn-timeline"), (8200, Tcp, "vault"), (8201, Tcp, "vault-cluster"),
    (8222, Tcp, "nats-http"), (8291, Tcp, "winbox"), (8300, Tcp, "consul-rpc"), (8301, Both, "consul-lan"),
    (8302, Both, "consul-wan"), (8333, Tcp, "bitcoin"), (8384, Tcp, "syncthing-http"), (8388, Both, "shadowsocks"),
    (8400, Tcp, "commvault"), (8427, Tcp, "victoriametrics-auth"), (8428, Tcp, "victoriametrics"),
    (8443, Tcp, "https-alt"), (8444, Tcp, "https-8444"), (8472, Udp, "vxlan-linux"), (8480, Tcp, "vminsert"),
    (8481, Tcp, "vmselect"), (8482, Tcp, "vmstorage"), (8485, Tcp, "hdfs-journalnode"), (8500, Tcp, "consul-http"),
    (8501, Tcp, "consul-https"), (8502, Tcp, "consul-grpc"), (8503, Tcp, "consul-grpc-tls"), (8530, Tcp, "wsus"),
    (8531, Tcp, "wsus-ssl"), (8554, Tcp, "rtsp-alt"), (8600, Both, "consul-dns"), (8728, Tcp, "routeros-api"),
    (8729, Tcp, "routeros-api-ssl"), (8786, Tcp, "dask-scheduler"), (8787, Tcp, "rstudio"), (8834, Tcp, "nessus"),
    (8843, Tcp, "https-8843"), (8848, Tcp, "nacos"), (8880, Tcp, "http-8880"), (8883, Tcp, "secure-mqtt"),
    (8888, Tcp, "http-8888"), (8889, Tcp, "http-8889"), (8983, Tcp, "solr"), (8998, Tcp, "livy"),
    (9000, Tcp, "minio"), (9001, Tcp, "minio-console"), (9002, Tcp, "http-9002"),
    (9009, Tcp, "clickhouse-interserver"), (9042, Tcp, "cassandra"), (9043, Tcp, "was-admin-ssl"),
    (9050, Tcp, "tor-socks"), (9051, Tcp, "tor-control"), (9060, Tcp, "was-admin"), (9080, Tcp, "http-9080"),
    (9083, Tcp, "hive-metastore"), (9090, Tcp, "prometheus"), (9091, Tcp, "prometheus-pushgateway"),
    (9092, Tcp, "kafka"), (9093, Tcp, "kafka-tls"), (9094, Both, "alertmanager-cluster"), (9096, Tcp, "kafka-sasl"),
    (9098, Tcp, "kafka-iam"), (9099, Tcp, "calico-felix"), (9100, Tcp, "jetdirect"), (9101, Tcp, "bacula-dir"),
    (9102, Tcp, "bacula-fd"), (9103, Tcp, "bacula-sd"), (9104, Tcp, "mysqld-exporter"),
    (9115, Tcp, "blackbox-exporter"), (9116, Tcp, "snmp-exporter"), (9117, Tcp, "apache-exporter"),
    (9121, Tcp, "redis-exporter"), (9142, Tcp, "keyspaces"), (9150, Tcp, "memcached-exporter"),
    (9153, Tcp, "coredns-metrics"), (9160, Tcp, "cassandra-thrift"), (9182, Tcp, "windows-exporter"),
    (9187, Tcp, "postgres-exporter"), (9191, Tcp, "nutanix-catalog"), (9194, Tcp, "kafka-public-tls"),
    (9196, Tcp, "kafka-public-sasl"), (9198, Tcp, "kafka-public-iam"), (9200, Tcp, "elasticsearch"),
    (9216, Tcp, "mongodb-exporter"), (9256, Tcp, "process-exporter"), (9300, Tcp, "elasticsearch-transport"),
    (9308, Tcp, "kafka-exporter"), (9389, Tcp, "adws"), (9390, Tcp, "openvas-manager"), (9392, Tcp, "openvas-http"),
    (9400, Tcp, "dcgm-exporter"), (9402, Tcp, "cert-manager-metrics"), (9411, Tcp, "zipkin"), (9418, Tcp, "git"),
    (9419, Tcp, "rabbitmq-exporter"), (9440, Tcp, "nutanix-prism"), (9443, Tcp, "https-9443"),
    (9600, Tcp, "logstash-api"), (9696, Tcp, "neutron"), (9864, Tcp, "hdfs-datanode-http"),
    (9866, Tcp, "hdfs-datanode"), (9867, Tcp, "hdfs-datanode-ipc"), (9870, Tcp, "hdfs-namenode-http"),
    (9876, Tcp, "rocketmq-namesrv"), (9987, Udp, "teamspeak"), (9990, Tcp, "wildfly-admin"),
    (9995, Udp, "netflow-alt"), (9997, Tcp, "splunk-forward"), (9998, Tcp, "tika"), (9999, Tcp, "http-9999"),
    (10000, Tcp, "webmin"), (10001, Udp, "ubnt-discovery"), (10050, Tcp, "zabbix-agent"),
    (10051, Tcp, "zabbix-trapper"), (10080, Tcp, "amanda"), (10161, Both, "snmp-tls"),
    (10162, Both, "snmptrap-tls"), (10248, Tcp, "kubelet-healthz"), (10249, Tcp, "kube-proxy-metrics"),
    (10250, Tcp, "kubelet"), (10251, Tcp, "kube-scheduler-old"), (10252, Tcp, "kube-controller-old"),
    (10255, Tcp, "kubelet-readonly"), (10256, Tcp, "kube-proxy-healthz"), (10257, Tcp, "kube-controller-manager"),
    (10259, Tcp, "kube-scheduler"), (10443, Tcp, "https-10443"), (10514, Tcp, "syslog-rsyslog"),
    (10800, Tcp, "ignite"), (10809, Tcp, "nbd"), (10911, Tcp, "rocketmq-broker"), (10933, Tcp, "octopus-tentacle"),
    (11112, Tcp, "dicom"), (11207, Tcp, "couchbase-memcached-ssl"), (11210, Tcp, "couchbase-memcached"),
    (11211, Both, "memcached"), (11371, Tcp, "hkp"), (11434, Tcp, "ollama"), (12201, Both, "gelf"),
    (12489, Tcp, "nsclient"), (13000, Tcp, "alluxio-http"), (13562, Tcp, "mapreduce-shuffle"),
    (13724, Tcp, "netbackup-vnetd"), (13782, Tcp, "netbackup-bpcd"), (14250, Tcp, "jaeger-grpc"),
    (14267, Tcp, "jaeger-tchannel"), (14268, Tcp, "jaeger-http"), (14269, Tcp, "jaeger-admin"),
    (15000, Tcp, "envoy-admin"), (15001, Tcp, "istio-outbound"), (15006, Tcp, "istio-inbound"),
    (15008, Tcp, "istio-hbone"), (15010, Tcp, "istio-xds"), (15012, Tcp, "istio-xds-tls"),
    (15014, Tcp, "istiod-metrics"), (15017, Tcp, "istiod-webhook"), (15020, Tcp, "istio-agent-metrics"),
    (15021, Tcp, "istio-health"), (15090, Tcp, "envoy-metrics"), (15671, Tcp, "rabbitmq-https"),
    (15672, Tcp, "rabbitmq-http"), (15692, Tcp, "rabbitmq-metrics"), (16000, Tcp, "hbase-master"),
    (16010, Tcp, "hbase-master-http"), (16020, Tcp, "hbase-regionserver"), (16030, Tcp, "hbase-regionserver-http"),
    (16379, Tcp, "redis-cluster-bus"), (16509, Tcp, "libvirt"), (16514, Tcp, "libvirt-tls"),
    (16686, Tcp, "jaeger-query"), (18080, Tcp, "spark-history"), (18091, Tcp, "couchbase-https"),
    (18181, Tcp, "checkpoint-cvp"), (18182, Tcp, "checkpoint-ufp"), (18184, Tcp, "checkpoint-lea"),
    (18190, Tcp, "checkpoint-cpmi"), (18264, Tcp, "checkpoint-ica"), (19071, Tcp, "vespa-config"),
    (19132, Udp, "minecraft-bedrock"), (19530, Tcp, "milvus"), (19888, Tcp, "mapreduce-history"),
    (19999, Tcp, "netdata"), (20000, Both, "dnp"), (20048, Both, "nfs-mountd"), (20880, Tcp, "dubbo"),
    (21000, Tcp, "impala"), (21050, Tcp, "impala-hs2"), (22000, Both, "syncthing"),
    (22623, Tcp, "openshift-machine-config"), (24007, Tcp, "gluster-management"), (24008, Tcp, "gluster-rdma"),
    (24224, Both, "fluentd"), (25565, Tcp, "minecraft"), (25575, Tcp, "minecraft-rcon"),
    (25672, Tcp, "rabbitmq-clustering"), (25826, Udp, "collectd"), (26257, Tcp, "cockroachdb"),
    (26379, Tcp, "redis-sentinel"), (26500, Tcp, "zeebe"), (27000, Tcp, "flexlm"), (27001, Tcp, "flexlm-1"),
    (27015, Both, "steam-srcds"), (27017, Tcp, "mongodb"), (27018, Tcp, "mongodb-shard"),
    (27019, Tcp, "mongodb-config"), (28015, Tcp, "rethinkdb"), (29015, Tcp, "rethinkdb-cluster"),
    (29092, Tcp, "kafka-alt"), (30303, Both, "ethereum"), (32400, Tcp, "plex"), (33060, Tcp, "mysqlx"),
    (41641, Udp, "tailscale"), (44818, Both, "ethernet-ip"), (47808, Udp, "bacnet"), (50000, Tcp, "db2"),
    (50051, Tcp, "grpc"), (51820, Udp, "wireguard"), (51821, Udp, "wireguard-alt"), (61613, Tcp, "stomp"),
    (61614, Tcp, "stomp-ssl"), (61616, Tcp, "activemq"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::PortRule;

    #[test]
    fn the_table_is_sorted_and_names_each_port_once() {
        assert!(SERVICES.is_sorted_by(|(a, ..), (b, ..)| a < b));
        assert!(SERVICES.iter().all(|(port, _, name)| *port > 0 && !name.is_empty()));
    }

    #[test]
    fn the_bitmap_holds_the_table_and_nothing_else() {
        for port in 0..=u16::MAX {
            assert_eq!(is_service(port), SERVICES.iter().any(|(known, ..)| *known == port), "{port}");
        }
    }

    #[test]
    fn a_name_depends_on_the_protocol() {
        assert_eq!(service_name(443, 6), Some("https"));
        assert_eq!(service_name(443, 17), Some("https"));
        assert_eq!(service_name(123, 17), Some("ntp"));
        assert_eq!(service_name(123, 6), None);
        assert_eq!(service_name(5432, 6), Some("postgresql"));
        assert_eq!(service_name(443, 1), None);
        assert_eq!(service_name(0, 6), None);
        assert_eq!(service_name(40000, 6), None);
    }

    /// Every client port against the services of ordinary traffic, without the help of TCP flags.
    #[test]
    fn hardly_any_client_port_is_taken_for_a_service() {
        let services =
            [443, 80, 5432, 3306, 6379, 8080, 8443, 9092, 53, 123, 22, 389, 9200, 2379, 25, 3389, 445, 23, 5900, 1433];
        let (mut wrong, mut total) = (0, 0);
        for service in services {
            for client in 1025..=u16::MAX {
                total += 1;
                wrong += u32::from(PortRule::Service.keep(6, client, service, None, false) != (0, service));
            }
        }
        assert!(f64::from(wrong) / f64::from(total) < 0.003, "{wrong} of {total}");
    }
}
