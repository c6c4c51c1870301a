-- merge_edges: the edges of a window from the edges of its parts: the definition of a roll-up.
-- reads:   edges (the edge key, flows, packets, bytes, first_seen, last_seen, tcp_flags)
-- returns: the edge key, then flows (records), packets, bytes (octets), first_seen, last_seen, tcp_flags (bit-or, null
--          if no part had them); one row per edge. Sums stop at 2^63-1, as those of its parts do
-- order:   the edge key
SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
       min(first_seen) AS first_seen,
       max(last_seen) AS last_seen,
       bit_or(tcp_flags) AS tcp_flags
FROM edges
GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
