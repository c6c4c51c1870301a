-- replaced_objects: objects of which the parts of a window have read different contents; such parts do not merge.
-- reads:   objects (object_key, etag, set_aside)
-- returns: object_key
-- order:   object_key
SELECT object_key
FROM objects
WHERE set_aside IS NULL
GROUP BY object_key
HAVING count(DISTINCT etag) > 1
ORDER BY object_key
