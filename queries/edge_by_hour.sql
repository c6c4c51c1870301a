-- edge_by_hour: how much went from one address to another in each hour.
-- reads:   edges (account_id, interface_id, srcaddr, dstaddr, srcport, dstport, protocol, action, flows, packets,
--          bytes, window_start, window_stop, window_width)
-- params:  $srcaddr, $dstaddr  text;  $port  text, default any, on either side;  $protocol  text, default any;
--          $window_start, $window_stop  timestamp, UTC, half-open;  $limit  count, default 1000
-- returns: hour, srcport, dstport, protocol, action, flows (records), packets, bytes (octets), seconds (length of the
--          windows in which the link was seen: 3600 at most, more where the windows are longer than an hour); one row
--          per link and hour in which windows begin that saw it. Of the interfaces that report a link the larger count
--          is taken. Sums stop at 2^63-1
-- order:   hour, then the link
WITH reports AS (
    SELECT account_id, interface_id, srcport, dstport, protocol, action, date_trunc('hour', window_start) AS hour,
           CAST(least(sum(CAST(flows AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS flows,
           CAST(least(sum(CAST(packets AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS packets,
           CAST(least(sum(CAST(bytes AS DECIMAL(28, 0))), 9223372036854775807) AS BIGINT) AS bytes,
           sum(window_width) AS seconds
    FROM edges
    WHERE window_start >= $window_start AND window_stop <= $window_stop
      AND srcaddr = $srcaddr AND dstaddr = $dstaddr
      AND ($port = arrow_cast('any', 'Utf8View')
           OR CAST(srcport AS VARCHAR) = $port OR CAST(dstport AS VARCHAR) = $port)
      AND ($protocol = arrow_cast('any', 'Utf8View') OR CAST(protocol AS VARCHAR) = $protocol)
    GROUP BY account_id, interface_id, srcport, dstport, protocol, action, hour
)
SELECT hour, srcport, dstport, protocol, action,
       max(flows) AS flows, max(packets) AS packets, max(bytes) AS bytes, max(seconds) AS seconds
FROM reports
GROUP BY hour, srcport, dstport, protocol, action
ORDER BY hour, srcport, dstport, protocol, action
LIMIT $limit
