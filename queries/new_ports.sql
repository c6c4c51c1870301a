-- new_ports: ports that a host serves in some windows and did not serve in earlier ones, or never before.
-- reads:   edges (srcaddr, dstaddr, srcport, dstport, protocol, action, first_seen, window_start, window_stop)
-- params:  $window_start, $window_stop, $before_stop  timestamp, UTC, half-open;  $before_start  timestamp, default
--          1970-01-01, all of the history;  $limit  count, default 1000
-- returns: server, port, protocol, service, clients (distinct addresses), first_seen; one row per port that is new.
--          Accepted traffic only; a host without any record in the earlier windows is new as a whole
-- order:   server, port, protocol
WITH served AS (
    SELECT CASE WHEN dstport <> 0 THEN dstaddr ELSE srcaddr END AS server,
           CASE WHEN dstport <> 0 THEN srcaddr ELSE dstaddr END AS client,
           CASE WHEN dstport <> 0 THEN dstport ELSE srcport END AS port,
           protocol, first_seen, window_start, window_stop
    FROM edges
    WHERE action = 'ACCEPT' AND (srcport <> 0 OR dstport <> 0)
)
SELECT server, port, protocol, service_name(port, protocol) AS service,
       count(DISTINCT client) AS clients, min(first_seen) AS first_seen
FROM served
WHERE window_start >= $window_start AND window_stop <= $window_stop
  AND NOT EXISTS (
      SELECT 1
      FROM served AS earlier
      WHERE earlier.window_start >= $before_start AND earlier.window_stop <= $before_stop
        AND earlier.server = served.server AND earlier.port = served.port AND earlier.protocol = served.protocol
  )
GROUP BY server, port, protocol
ORDER BY server, port, protocol
LIMIT $limit
