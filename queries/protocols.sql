-- protocols: how much of each protocol was accepted and rejected.
-- reads:   edges (protocol, action, flows, packets, bytes, window_start, window_stop)
-- params:  $window_start, $window_stop  timestamp, UTC, half-open
-- returns: protocol, name, action, edges, flows (records), packets, bytes (octets); one row per protocol and
--          action. Every report of every interface counts. Sums stop at 2^63-1
-- order:   protocol, action
SELECT protocol, protocol_name(protocol) AS name, action, count(*) AS edges,
       CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
       CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
       CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes
FROM edges
WHERE window_start >= $window_start AND window_stop <= $window_stop
GROUP BY protocol, action
ORDER BY protocol, action
