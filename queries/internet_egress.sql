-- internet_egress: what private addresses sent to public ones, by bytes.
-- reads:   edges (account_id, interface_id, srcaddr, dstaddr, dstport, protocol, action, bytes, packets,
--          window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 20
-- returns: srcaddr, dstaddr, dstport (0 in replies), protocol, service, bytes (octets), packets; one row per link
--          that was accepted. Of the interfaces that report a link the larger count is taken. Sums stop at 2^63-1
-- order:   bytes descending, then the link
WITH reports AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, dstport, protocol,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop
      AND action = 'ACCEPT' AND is_private(srcaddr) AND NOT is_private(dstaddr)
    GROUP BY account_id, interface_id, srcaddr, dstaddr, dstport, protocol
)
SELECT srcaddr, dstaddr, dstport, protocol, service_name(dstport, protocol) AS service,
       max(bytes) AS bytes, max(packets) AS packets
FROM reports
GROUP BY srcaddr, dstaddr, dstport, protocol
ORDER BY bytes DESC, srcaddr, dstaddr, dstport, protocol
LIMIT $limit
