-- by_edge: the edges of one digest as they are, for a diff by edge.
-- reads:   edges (the edge key, the measures), seen (account_id, interface_id: what the other digest observed)
-- returns: the edge key, the measures, observed; one row per edge
-- order:   the edge key
SELECT e.account_id, e.interface_id, e.srcaddr, e.dstaddr, e.srcport, e.dstport, e.protocol, e.action,
       e.flows, e.packets, e.bytes, e.first_seen, e.last_seen, e.tcp_flags,
       s.account_id IS NOT NULL AS observed
FROM edges AS e
LEFT JOIN seen AS s ON e.account_id = s.account_id AND e.interface_id = s.interface_id
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
