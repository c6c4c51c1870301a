-- merge_interfaces: the interfaces of a window from those of its parts.
-- reads:   interfaces (account_id, interface_id, region, vpc_id, subnet_id, instance_id, interface_type, ok, nodata,
--          skipdata, first_seen, last_seen)
-- returns: account_id, interface_id, region, vpc_id, subnet_id, instance_id, interface_type (of each the smallest
--          value of any part), ok, nodata, skipdata (records by status), first_seen, last_seen; one row per interface
-- order:   account_id, interface_id
SELECT account_id,
       interface_id,
       min(region) AS region,
       min(vpc_id) AS vpc_id,
       min(subnet_id) AS subnet_id,
       min(instance_id) AS instance_id,
       min(interface_type) AS interface_type,
       CAST(sum(ok) AS BIGINT) AS ok,
       CAST(sum(nodata) AS BIGINT) AS nodata,
       CAST(sum(skipdata) AS BIGINT) AS skipdata,
       min(first_seen) AS first_seen,
       max(last_seen) AS last_seen
FROM interfaces
GROUP BY account_id, interface_id
ORDER BY account_id, interface_id
