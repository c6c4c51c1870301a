-- windows: what is published, how far behind it was, and how complete it is.
-- reads:   windows (all columns but the cost)
-- params:  $from, $to  timestamp, UTC: windows that end after $from and begin before $to
-- returns: window_start, window_stop, version, state, published, lag_seconds, edges, flows (records), bytes (octets),
--          objects_read, objects_listed, objects_set_aside, lines_refused, skipdata (records), interfaces,
--          silent_flow_logs; one row per window, its newest version.
--          published is when the build of this version began to look at what there is. lag_seconds is how far behind the
--          version was then. provisional: from the newest record in it (last_seen) to published, so how far an open
--          window was behind, delivery by AWS included; null if it holds no record. final: from window_stop to
--          published, so how long after its stop the window was final; late objects make a new version, which counts
--          anew. How old an open window's version is by now, now() - published tells
-- order:   window_start, window_stop
SELECT window_start, window_stop, version, state, published, lag_seconds, edges, flows, bytes, objects_read,
       objects_listed, objects_set_aside, lines_refused, skipdata, interfaces, silent_flow_logs
FROM windows
WHERE window_stop > $from AND window_start < $to
ORDER BY window_start, window_stop
