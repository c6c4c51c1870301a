-- diff_added: the edges of one edge table that the other lacks: the definition of "added".
-- reads:   before, after (the edge key, flows, packets, bytes)
-- returns: the edge key, flows, packets, bytes (octets) of the edges in after that are not in before
-- order:   the edge key
SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action, flows, packets, bytes
FROM after AS here
WHERE NOT EXISTS (
    SELECT 1
    FROM before AS there
    WHERE here.account_id = there.account_id AND here.interface_id = there.interface_id
      AND here.srcaddr = there.srcaddr AND here.dstaddr = there.dstaddr AND here.srcport = there.srcport
      AND here.dstport = there.dstport AND here.protocol = there.protocol AND here.action = there.action
)
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
