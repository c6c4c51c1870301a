-- talkers_by_cidr: which networks send to which, by bytes.
-- reads:   edges (account_id, interface_id, srcaddr, dstaddr, action, bytes, packets, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $prefix_len  count, default 16, bits of an IPv4
--          network;  $prefix_len_v6  count, default 48, bits of an IPv6 network;  $limit  count, default 20
-- returns: source, destination (networks), hosts (distinct sources), bytes (octets), packets; one row per pair of
--          networks, accepted traffic. Of the interfaces that report a pair of hosts the larger count is taken.
--          Sums stop at 2^63-1
-- order:   bytes descending, then the networks
WITH reports AS (
    SELECT account_id, interface_id, srcaddr, dstaddr,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop AND action = 'ACCEPT'
    GROUP BY account_id, interface_id, srcaddr, dstaddr
), hosts AS (
    SELECT srcaddr, dstaddr, max(bytes) AS bytes, max(packets) AS packets
    FROM reports
    GROUP BY srcaddr, dstaddr
)
SELECT cidr_of(srcaddr, CASE WHEN ip_family(srcaddr) = 4 THEN $prefix_len ELSE $prefix_len_v6 END) AS source,
       cidr_of(dstaddr, CASE WHEN ip_family(dstaddr) = 4 THEN $prefix_len ELSE $prefix_len_v6 END) AS destination,
       count(DISTINCT srcaddr) AS hosts,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets
FROM hosts
GROUP BY source, destination
ORDER BY bytes DESC, source, destination
LIMIT $limit
