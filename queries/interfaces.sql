-- interfaces: the interfaces that the records of one window come from: the definition of a digest's interface file.
-- reads:   flows (account_id, interface_id, region, vpc_id, subnet_id, instance_id, interface_type, start, end,
--          log_status)
-- params:  $start, $stop  timestamp, UTC, half-open
-- returns: account_id, interface_id, region, vpc_id, subnet_id, instance_id, interface_type (of each the smallest
--          value that a record carried), ok, nodata, skipdata (records by status; without a status, or with
--          another, ok), first_seen, last_seen; one row per interface, whatever the status of its records
-- order:   account_id, interface_id
SELECT coalesce(account_id, '-') AS account_id,
       coalesce(interface_id, '-') AS interface_id,
       min(region) AS region,
       min(vpc_id) AS vpc_id,
       min(subnet_id) AS subnet_id,
       min(instance_id) AS instance_id,
       min(interface_type) AS interface_type,
       count(*) FILTER (WHERE coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA')) AS ok,
       count(*) FILTER (WHERE log_status = 'NODATA') AS nodata,
       count(*) FILTER (WHERE log_status = 'SKIPDATA') AS skipdata,
       arrow_cast(min(coalesce(start, "end")), 'Timestamp(Millisecond, Some("UTC"))') AS first_seen,
       arrow_cast(max("end"), 'Timestamp(Millisecond, Some("UTC"))') AS last_seen
FROM flows
WHERE "end" >= $start AND "end" < $stop
GROUP BY coalesce(account_id, '-'), coalesce(interface_id, '-')
ORDER BY account_id, interface_id
