-- silent_interfaces: interfaces that had traffic in some windows and none in later ones.
-- reads:   interfaces (account_id, interface_id, region, vpc_id, ok, nodata, skipdata, last_seen, window_start,
--          window_stop)
-- params:  $before_start, $before_stop, $window_start, $window_stop  timestamp, UTC, half-open
-- returns: account_id, interface_id, region, vpc_id, ok_before (records with traffic), last_seen (in the earlier
--          windows), state (nodata: observed, without traffic; skipdata: its records were lost; absent: not
--          observed at all); one row per interface that fell silent
-- order:   account_id, interface_id
WITH before AS (
    SELECT account_id, interface_id, min(region) AS region, min(vpc_id) AS vpc_id,
           sum(ok) AS ok, max(last_seen) AS last_seen
    FROM interfaces
    WHERE window_start >= $before_start AND window_stop <= $before_stop
    GROUP BY account_id, interface_id
), later AS (
    SELECT account_id, interface_id, sum(ok) AS ok, sum(skipdata) AS skipdata
    FROM interfaces
    WHERE window_start >= $window_start AND window_stop <= $window_stop
    GROUP BY account_id, interface_id
)
SELECT before.account_id, before.interface_id, before.region, before.vpc_id, before.ok AS ok_before, before.last_seen,
       CASE WHEN later.ok IS NULL THEN 'absent' WHEN later.skipdata > 0 THEN 'skipdata' ELSE 'nodata' END AS state
FROM before
LEFT JOIN later ON later.account_id = before.account_id AND later.interface_id = before.interface_id
WHERE before.ok > 0 AND coalesce(later.ok, 0) = 0
ORDER BY before.account_id, before.interface_id
