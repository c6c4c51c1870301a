-- scanners: sources that try many hosts and ports, most of them in vain.
-- reads:   edges (srcaddr, dstaddr, dstport, protocol, action, flows, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $min_targets  count, default 20, fewer are no
--          scan; $limit  count, default 20
-- returns: srcaddr, targets (distinct host, port and protocol), hosts, ports, rejected (targets that were refused);
--          one row per source with at least as many targets
-- order:   targets descending, then srcaddr
WITH targets AS (
    SELECT srcaddr, dstaddr, dstport, protocol, bool_or(action = 'REJECT') AS rejected
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop AND (dstport <> 0 OR action = 'REJECT')
    GROUP BY srcaddr, dstaddr, dstport, protocol
)
SELECT srcaddr, count(*) AS targets, count(DISTINCT dstaddr) AS hosts, count(DISTINCT dstport) AS ports,
       count(*) FILTER (WHERE rejected) AS rejected
FROM targets
GROUP BY srcaddr
HAVING count(*) >= $min_targets
ORDER BY targets DESC, srcaddr
LIMIT $limit
