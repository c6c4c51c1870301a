-- volumes: how much each window holds, to see the rhythm of a day and its gaps.
-- reads:   edges (flows, packets, bytes, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open
-- returns: window_start, window_stop, edges, flows (records), packets, bytes (octets); one row per window with
--          edges. Every report of every interface counts. Sums stop at 2^63-1
-- order:   window_start, window_stop
SELECT window_start, window_stop, count(*) AS edges,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes
FROM edges
WHERE window_start >= $window_start AND window_stop <= $window_stop
GROUP BY window_start, window_stop
ORDER BY window_start, window_stop
