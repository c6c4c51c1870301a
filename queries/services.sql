-- services: who serves what, and to how many.
-- reads:   edges (srcaddr, dstaddr, srcport, dstport, protocol, action, last_seen, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 50
-- returns: server, port, protocol, service, clients (distinct addresses), last_seen; one row per port that a host
--          serves. Accepted traffic only
-- order:   clients descending, then server, port, protocol
WITH served AS (
    SELECT CASE WHEN dstport <> 0 THEN dstaddr ELSE srcaddr END AS server,
           CASE WHEN dstport <> 0 THEN srcaddr ELSE dstaddr END AS client,
           CASE WHEN dstport <> 0 THEN dstport ELSE srcport END AS port,
           protocol, last_seen
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop
      AND action = 'ACCEPT' AND (srcport <> 0 OR dstport <> 0)
)
SELECT server, port, protocol, service_name(port, protocol) AS service,
       count(DISTINCT client) AS clients, max(last_seen) AS last_seen
FROM served
GROUP BY server, port, protocol
ORDER BY clients DESC, server, port, protocol
LIMIT $limit
