-- by_interface: the edges of one digest by interface.
-- reads:   edges (the edge key, the measures), seen (account_id, interface_id: what the other digest observed)
-- returns: the edge key with '-' or 0 for all but account and interface, the sums over its edges, observed; one row
--          per interface with edges
-- order:   the edge key
SELECT e.account_id, e.interface_id, '-' AS srcaddr, '-' AS dstaddr,
       arrow_cast(0, 'UInt16') AS srcport, arrow_cast(0, 'UInt16') AS dstport,
       arrow_cast(0, 'UInt8') AS protocol, '-' AS action,
       sum(e.flows) AS flows, sum(e.packets) AS packets, sum(e.bytes) AS bytes,
       min(e.first_seen) AS first_seen, max(e.last_seen) AS last_seen, bit_or(e.tcp_flags) AS tcp_flags,
       bool_or(s.account_id IS NOT NULL) AS observed
FROM edges AS e
LEFT JOIN seen AS s ON e.account_id = s.account_id AND e.interface_id = s.interface_id
GROUP BY e.account_id, e.interface_id
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
