-- by_host: the edges of one digest by pair of addresses; a link that both its ends report counts once.
-- reads:   edges (the edge key, the measures), seen (account_id, interface_id: what the other digest observed)
-- returns: the edge key with '-' or 0 for all but the addresses, the sums over the links, observed (whether any
--          interface that reported a link of the pair is in seen); one row per pair of addresses
-- order:   the edge key
WITH ranked AS (
    SELECT e.srcaddr, e.dstaddr, e.flows, e.packets, e.bytes, e.first_seen, e.last_seen, e.tcp_flags,
           s.account_id IS NOT NULL AS observed,
           row_number()
               OVER (PARTITION BY e.srcaddr, e.dstaddr, e.srcport, e.dstport, e.protocol, e.action
                     ORDER BY e.bytes DESC, e.packets DESC, e.flows DESC, e.account_id, e.interface_id) AS place
    FROM edges AS e
    LEFT JOIN seen AS s ON e.account_id = s.account_id AND e.interface_id = s.interface_id
)
SELECT '-' AS account_id, '-' AS interface_id, srcaddr, dstaddr,
       arrow_cast(0, 'UInt16') AS srcport, arrow_cast(0, 'UInt16') AS dstport,
       arrow_cast(0, 'UInt8') AS protocol, '-' AS action,
       sum(CASE WHEN place = 1 THEN flows ELSE 0 END) AS flows,
       sum(CASE WHEN place = 1 THEN packets ELSE 0 END) AS packets,
       sum(CASE WHEN place = 1 THEN bytes ELSE 0 END) AS bytes,
       min(first_seen) AS first_seen, max(last_seen) AS last_seen, bit_or(tcp_flags) AS tcp_flags,
       bool_or(observed) AS observed
FROM ranked
GROUP BY srcaddr, dstaddr
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
