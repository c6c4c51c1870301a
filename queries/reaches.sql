-- reaches: who reaches a network, by which port.
-- reads:   edges (srcaddr, dstaddr, dstport, protocol, action, flows, last_seen, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $network  cidr
-- returns: srcaddr, dstaddr, dstport (0 in replies), protocol, service, action, flows (records), last_seen; one row
--          per link into the network from outside of it. Sums stop at 2^63-1
-- order:   the columns up to action
SELECT srcaddr, dstaddr, dstport, protocol, service_name(dstport, protocol) AS service, action,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       max(last_seen) AS last_seen
FROM edges
WHERE window_start >= $window_start AND window_stop <= $window_stop
  AND cidr_contains($network, dstaddr) AND NOT cidr_contains($network, srcaddr)
GROUP BY srcaddr, dstaddr, dstport, protocol, action
ORDER BY srcaddr, dstaddr, dstport, protocol, action
