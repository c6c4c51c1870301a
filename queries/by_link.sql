-- by_link: the edges of one digest by link: an edge that both its ends report counts once, as the larger report.
-- reads:   edges (the edge key, the measures), seen (account_id, interface_id: what the other digest observed)
-- returns: the edge key with '-' for account and interface, the measures of the report with most bytes, observed
--          (whether any interface that reported the link is in seen); one row per link
-- order:   the edge key
WITH ranked AS (
    SELECT e.srcaddr, e.dstaddr, e.srcport, e.dstport, e.protocol, e.action,
           e.flows, e.packets, e.bytes, e.first_seen, e.last_seen, e.tcp_flags,
           bool_or(s.account_id IS NOT NULL)
               OVER (PARTITION BY e.srcaddr, e.dstaddr, e.srcport, e.dstport, e.protocol, e.action) AS observed,
           row_number()
               OVER (PARTITION BY e.srcaddr, e.dstaddr, e.srcport, e.dstport, e.protocol, e.action
                     ORDER BY e.bytes DESC, e.packets DESC, e.flows DESC, e.account_id, e.interface_id) AS place
    FROM edges AS e
    LEFT JOIN seen AS s ON e.account_id = s.account_id AND e.interface_id = s.interface_id
)
SELECT '-' AS account_id, '-' AS interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       flows, packets, bytes, first_seen, last_seen, tcp_flags, observed
FROM ranked
WHERE place = 1
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
