-- merge_objects: the objects of a window from those of its parts.
-- reads:   objects (all columns of an object file)
-- returns: object_key, etag, size, file_time, account_id, region, flow_log_id, set_aside, records, in_window, ok, nodata,
--          skipdata, refused_fields, refused_encoding, refused_address, refused_number, refused_range, no_time,
--          milliseconds, spaces, headers, unknown_fields, odd_actions, first_end, last_end; one row per object. One that
--          a part has read and another has set aside counts as read. in_window, ok, nodata, skipdata add up; the other
--          counts are of the whole object and the same in every part that has read it
-- order:   object_key
SELECT object_key,
       coalesce(min(etag) FILTER (WHERE set_aside IS NULL), min(etag)) AS etag,
       coalesce(min(size) FILTER (WHERE set_aside IS NULL), min(size)) AS size,
       min(file_time) AS file_time,
       min(account_id) AS account_id,
       min(region) AS region,
       min(flow_log_id) AS flow_log_id,
       CASE WHEN count(*) = count(set_aside) THEN min(set_aside) END AS set_aside,
       max(records) AS records,
       CAST(sum(in_window) AS BIGINT) AS in_window,
       CAST(sum(ok) AS BIGINT) AS ok,
       CAST(sum(nodata) AS BIGINT) AS nodata,
       CAST(sum(skipdata) AS BIGINT) AS skipdata,
       max(refused_fields) AS refused_fields,
       max(refused_encoding) AS refused_encoding,
       max(refused_address) AS refused_address,
       max(refused_number) AS refused_number,
       max(refused_range) AS refused_range,
       max(no_time) AS no_time,
       max(milliseconds) AS milliseconds,
       max(spaces) AS spaces,
       max(headers) AS headers,
       max(unknown_fields) AS unknown_fields,
       max(odd_actions) AS odd_actions,
       min(first_end) AS first_end,
       max(last_end) AS last_end
FROM objects
GROUP BY object_key
ORDER BY object_key
