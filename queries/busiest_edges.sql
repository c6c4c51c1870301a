-- busiest_edges: the edges that moved most bytes in a range, as each interface reports them.
-- reads:   edges (the edge key, flows, packets, bytes, first_seen, last_seen, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 20
-- returns: the edge key, windows (in which the edge was seen: a digest holds it once), flows (records), packets, bytes
--          (octets), first_seen, last_seen; one row per edge. Sums stop at 2^63-1
-- order:   bytes descending, then the edge key
SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       count(*) AS windows,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
       min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM edges
WHERE window_start >= $window_start AND window_stop <= $window_stop
GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
ORDER BY bytes DESC, account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
LIMIT $limit
