-- top_talkers: the links of some windows that moved most bytes.
-- reads:   edges (account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action, bytes, packets,
--          window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 20
-- returns: srcaddr, dstaddr, srcport, dstport, protocol, service, action, bytes (octets), packets; one row per
--          link. Of the interfaces that report a link the larger count is taken. Sums stop at 2^63-1
-- order:   bytes descending, then the link
WITH reports AS (
    SELECT account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop
    GROUP BY account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action
)
SELECT srcaddr, dstaddr, srcport, dstport, protocol,
       service_name(CASE WHEN dstport <> 0 THEN dstport ELSE srcport END, protocol) AS service,
       action, max(bytes) AS bytes, max(packets) AS packets
FROM reports
GROUP BY srcaddr, dstaddr, srcport, dstport, protocol, action
ORDER BY bytes DESC, srcaddr, dstaddr, srcport, dstport, protocol, action
LIMIT $limit
