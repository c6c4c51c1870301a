-- skipped: where AWS lost records (SKIPDATA), so that what is not there may have been there.
-- reads:   flows (account_id, interface_id, start, end, log_status)
-- params:  $start, $stop  timestamp, UTC, half-open
-- returns: account_id, interface_id (- where the record has none), records (each stands for one lost record or
--          many), first_seen, last_seen; one row per interface
-- order:   account_id, interface_id
SELECT coalesce(account_id, '-') AS account_id, coalesce(interface_id, '-') AS interface_id,
       count(*) AS records, min(coalesce(start, "end")) AS first_seen, max("end") AS last_seen
FROM flows
WHERE "end" >= $start AND "end" < $stop AND log_status = 'SKIPDATA'
GROUP BY coalesce(account_id, '-'), coalesce(interface_id, '-')
ORDER BY account_id, interface_id
