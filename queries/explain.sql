-- explain: the raw records behind an edge, by object and line.
-- reads:   flows (object_key, line, the fields of an edge, start, end)
-- params:  $start, $stop  timestamp, UTC, half-open;  $srcaddr, $dstaddr  text;  $port  text, default any;
--          $protocol  text, default any;  $interface_id  text, default any;  $limit  count, default 100
-- returns: object_key, line (1-based), account_id, interface_id, srcaddr, dstaddr, pkt_srcaddr, pkt_dstaddr, srcport,
--          dstport, protocol, packets, bytes (octets), start, end, action, tcp_flags, log_status; one row per record
--          whose packet or interface addresses are those of the edge and that has the port on either side
-- order:   object_key, line
SELECT object_key, line, account_id, interface_id, srcaddr, dstaddr, pkt_srcaddr, pkt_dstaddr, srcport, dstport,
       protocol, packets, bytes, start, "end", action, tcp_flags, log_status
FROM flows
WHERE "end" >= $start AND "end" < $stop
  AND coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA')
  AND (coalesce(pkt_srcaddr, srcaddr) = $srcaddr OR srcaddr = $srcaddr)
  AND (coalesce(pkt_dstaddr, dstaddr) = $dstaddr OR dstaddr = $dstaddr)
  AND ($port = arrow_cast('any', 'Utf8View') OR CAST(srcport AS VARCHAR) = $port OR CAST(dstport AS VARCHAR) = $port)
  AND ($protocol = arrow_cast('any', 'Utf8View') OR CAST(protocol AS VARCHAR) = $protocol)
  AND ($interface_id = arrow_cast('any', 'Utf8View') OR interface_id = $interface_id)
ORDER BY object_key, line
LIMIT $limit
