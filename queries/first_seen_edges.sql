-- first_seen_edges: the edges that were seen for the first time since an instant.
-- reads:   edges (the edge key, flows, packets, bytes, first_seen, last_seen, window_start, window_stop), interfaces
--          (account_id, interface_id, first_seen, window_start)
-- params:  $since  timestamp, UTC;  $history_start  timestamp, default 1970-01-01, windows that begin before it do
--          not count as history;  $limit  count, default 1000
-- returns: the edge key, flows (records), packets, bytes (octets), first_seen, last_seen, observed_before (whether
--          the interface was observed before $since; if not, nobody knows whether the edge is new); one row per edge
--          none of whose flows began before $since. It does not matter how the history is cut into windows: $since
--          may lie inside of one. Sums stop at 2^63-1
-- order:   first_seen, then the edge key
WITH unfamiliar AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
           flows, packets, bytes, first_seen, last_seen
    FROM edges AS late
    WHERE window_stop > $since AND first_seen >= $since
      -- Said again below, of all the history: the hour before knows most of the edges already, and what it does not know
      -- is few enough for the rest of the history to pass by quickly. Without this the query takes a third longer.
      AND NOT EXISTS (
        SELECT 1
        FROM edges AS recent
        WHERE recent.window_start >= $history_start AND recent.window_start - INTERVAL '10 minutes' < $since
          AND recent.window_stop + INTERVAL '1 hour' > $since AND recent.first_seen < $since
          AND recent.account_id = late.account_id AND recent.interface_id = late.interface_id
          AND recent.srcaddr = late.srcaddr AND recent.dstaddr = late.dstaddr AND recent.srcport = late.srcport
          AND recent.dstport = late.dstport AND recent.protocol = late.protocol AND recent.action = late.action
    )
), fresh AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
           CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           min(first_seen) AS first_seen, max(last_seen) AS last_seen
    FROM unfamiliar
    GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
), new AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
           flows, packets, bytes, first_seen, last_seen
    FROM fresh
    WHERE NOT EXISTS (
        SELECT 1
        FROM edges AS earlier
        -- A flow begins ten minutes before the window that it belongs to at the earliest.
        WHERE earlier.window_start >= $history_start AND earlier.window_start - INTERVAL '10 minutes' < $since
          AND earlier.first_seen < $since
          AND earlier.account_id = fresh.account_id AND earlier.interface_id = fresh.interface_id
          AND earlier.srcaddr = fresh.srcaddr AND earlier.dstaddr = fresh.dstaddr AND earlier.srcport = fresh.srcport
          AND earlier.dstport = fresh.dstport AND earlier.protocol = fresh.protocol AND earlier.action = fresh.action
    )
), observed AS (
    SELECT DISTINCT account_id, interface_id
    FROM interfaces
    WHERE window_start >= $history_start AND window_start - INTERVAL '10 minutes' < $since AND first_seen < $since
)
SELECT new.account_id, new.interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       flows, packets, bytes, first_seen, last_seen, observed.account_id IS NOT NULL AS observed_before
FROM new
LEFT JOIN observed ON observed.account_id = new.account_id AND observed.interface_id = new.interface_id
ORDER BY first_seen, account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
LIMIT $limit
