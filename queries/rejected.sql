-- rejected: whose traffic was refused, and how widely it was aimed.
-- reads:   edges (srcaddr, dstaddr, dstport, protocol, action, flows, packets, last_seen, window_start,
--          window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 20
-- returns: srcaddr, flows (records), packets, hosts (distinct destinations), ports (distinct destination ports and
--          protocols), last_seen; one row per source of rejected traffic. Sums stop at 2^63-1
-- order:   flows descending, then srcaddr
SELECT srcaddr,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       count(DISTINCT dstaddr) AS hosts,
       count(DISTINCT CAST(dstport AS BIGINT) * 256 + protocol) AS ports,
       max(last_seen) AS last_seen
FROM edges
WHERE window_start >= $window_start AND window_stop <= $window_stop AND action = 'REJECT'
GROUP BY srcaddr
ORDER BY flows DESC, srcaddr
LIMIT $limit
