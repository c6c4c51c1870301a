-- diff: what differs between two edge tables: both anti-joins and the changed edges in one pass.
-- reads:   before, after (the edge key, flows, packets, bytes, first_seen, last_seen, tcp_flags, observed: whether the
--          other digest observed an interface that reported the edge)
-- params:  $ratio  float, default 2;  $min_bytes  count, default 1000000
-- returns: change (added, removed, changed), evidence (new, gone, unobserved_before, unobserved_after, volume), the
--          edge key, the measures (after's; before's of a removed edge), flows_before, packets_before, bytes_before
--          (null for an added edge). Changed: bytes moved by at least $ratio, up or down, and by at least $min_bytes
-- order:   the edge key
SELECT CASE WHEN b.flows IS NULL THEN 'added' WHEN a.flows IS NULL THEN 'removed' ELSE 'changed' END AS change,
       CASE WHEN b.flows IS NULL THEN CASE WHEN a.observed THEN 'new' ELSE 'unobserved_before' END
            WHEN a.flows IS NULL THEN CASE WHEN b.observed THEN 'gone' ELSE 'unobserved_after' END
            ELSE 'volume' END AS evidence,
       coalesce(a.account_id, b.account_id) AS account_id,
       coalesce(a.interface_id, b.interface_id) AS interface_id,
       coalesce(a.srcaddr, b.srcaddr) AS srcaddr,
       coalesce(a.dstaddr, b.dstaddr) AS dstaddr,
       coalesce(a.srcport, b.srcport) AS srcport,
       coalesce(a.dstport, b.dstport) AS dstport,
       coalesce(a.protocol, b.protocol) AS protocol,
       coalesce(a.action, b.action) AS action,
       coalesce(a.flows, b.flows) AS flows,
       coalesce(a.packets, b.packets) AS packets,
       coalesce(a.bytes, b.bytes) AS bytes,
       coalesce(a.first_seen, b.first_seen) AS first_seen,
       coalesce(a.last_seen, b.last_seen) AS last_seen,
       CASE WHEN a.flows IS NULL THEN b.tcp_flags ELSE a.tcp_flags END AS tcp_flags,
       b.flows AS flows_before,
       b.packets AS packets_before,
       b.bytes AS bytes_before
FROM after AS a
FULL JOIN before AS b
  ON a.account_id = b.account_id AND a.interface_id = b.interface_id AND a.srcaddr = b.srcaddr
 AND a.dstaddr = b.dstaddr AND a.srcport = b.srcport AND a.dstport = b.dstport AND a.protocol = b.protocol
 AND a.action = b.action
WHERE a.flows IS NULL
   OR b.flows IS NULL
   OR (a.bytes <> b.bytes
       AND greatest(a.bytes, b.bytes) - least(a.bytes, b.bytes) >= $min_bytes
       AND CAST(greatest(a.bytes, b.bytes) AS DOUBLE) >= $ratio * CAST(least(a.bytes, b.bytes) AS DOUBLE))
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
