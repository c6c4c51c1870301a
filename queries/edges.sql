-- edges: the flows of one window folded by the edge key: the definition of a digest.
-- reads:   flows (account_id, interface_id, srcaddr, dstaddr, pkt_srcaddr, pkt_dstaddr, srcport, dstport, protocol,
--          packets, bytes, start, end, action, log_status, tcp_flags)
-- params:  $start, $stop  timestamp, UTC, half-open;  $port_rule  service|lower, default service; $addresses
--          packet|interface, default packet
-- returns: the edge key, then flows (records), packets, bytes (octets), first_seen, last_seen, tcp_flags (bit-or,
--          null if no record had them); one row per edge. Sums stop at 2^63-1 and a missing counter adds 0. Records
--          with status NODATA or SKIPDATA, or without addresses, make no edge
-- order:   the edge key
WITH keyed AS (
    SELECT coalesce(account_id, '-') AS account_id,
           coalesce(interface_id, '-') AS interface_id,
           CASE WHEN $addresses = 'packet' THEN coalesce(pkt_srcaddr, srcaddr) ELSE srcaddr END AS srcaddr,
           CASE WHEN $addresses = 'packet' THEN coalesce(pkt_dstaddr, dstaddr) ELSE dstaddr END AS dstaddr,
           kept_srcport(srcport, dstport, protocol, tcp_flags, action, $port_rule) AS srcport,
           kept_dstport(srcport, dstport, protocol, tcp_flags, action, $port_rule) AS dstport,
           arrow_cast(coalesce(protocol, 255), 'UInt8') AS protocol,
           coalesce(action, '-') AS action,
           coalesce(packets, 0) AS packets,
           coalesce(bytes, 0) AS bytes,
           coalesce(start, "end") AS first_seen,
           "end" AS last_seen,
           tcp_flags
    FROM flows
    WHERE "end" >= $start AND "end" < $stop
      AND coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA')
)
SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
       count(*) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
       arrow_cast(min(first_seen), 'Timestamp(Millisecond, Some("UTC"))') AS first_seen,
       arrow_cast(max(last_seen), 'Timestamp(Millisecond, Some("UTC"))') AS last_seen,
       bit_or(tcp_flags) AS tcp_flags
FROM keyed
WHERE srcaddr IS NOT NULL AND dstaddr IS NOT NULL
GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
ORDER BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
