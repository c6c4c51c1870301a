-- vanished_edges: the edges that were not seen any more since an instant, such as -7d.
-- reads:   edges (the edge key, flows, packets, bytes, first_seen, last_seen, window_start, window_stop), interfaces
--          (account_id, interface_id, last_seen, window_stop)
-- params:  $since  timestamp, UTC;  $history_start  timestamp, default 1970-01-01, windows that begin before it do
--          not count as history;  $limit  count, default 1000
-- returns: the edge key, flows (records), packets, bytes (octets), first_seen, last_seen, observed_since (whether the
--          interface was observed since $since; if not, nobody knows whether the edge is gone); one row per edge all of
--          whose flows ended before $since. It does not matter how the history is cut into windows. Sums stop at 2^63-1
-- order:   last_seen descending, then the edge key
WITH former AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
           CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           min(first_seen) AS first_seen, max(last_seen) AS last_seen
    FROM edges
    WHERE window_start >= $history_start AND window_start < $since AND last_seen < $since
    GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
), observed AS (
    SELECT DISTINCT account_id, interface_id
    FROM interfaces
    WHERE window_stop > $since AND last_seen >= $since
)
SELECT former.account_id, former.interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       flows, packets, bytes, first_seen, last_seen, observed.account_id IS NOT NULL AS observed_since
FROM former
LEFT JOIN observed ON observed.account_id = former.account_id AND observed.interface_id = former.interface_id
WHERE NOT EXISTS (
    SELECT 1
    FROM edges AS later
    WHERE later.window_stop > $since AND later.last_seen >= $since
      AND later.account_id = former.account_id AND later.interface_id = former.interface_id
      AND later.srcaddr = former.srcaddr AND later.dstaddr = former.dstaddr AND later.srcport = former.srcport
      AND later.dstport = former.dstport AND later.protocol = former.protocol AND later.action = former.action
)
ORDER BY last_seen DESC, account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
LIMIT $limit
