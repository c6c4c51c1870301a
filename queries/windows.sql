-- windows: what is published, and how complete it is.
-- reads:   windows (all columns but the cost)
-- params:  $from, $to  timestamp, UTC: windows that end after $from and begin before $to
-- returns: window_start, window_stop, version, state, edges, flows (records), bytes (octets), objects_read,
--          objects_listed, objects_set_aside, lines_refused, skipdata (records), interfaces, silent_flow_logs; one row
--          per window, its newest version
-- order:   window_start, window_stop
SELECT window_start, window_stop, version, state, edges, flows, bytes, objects_read, objects_listed,
       objects_set_aside, lines_refused, skipdata, interfaces, silent_flow_logs
FROM windows
WHERE window_stop > $from AND window_start < $to
ORDER BY window_start, window_stop
