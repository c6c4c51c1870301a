-- whole_interfaces: the interfaces of one digest whose coverage is whole: what is absent there was not there.
-- reads:   interfaces (account_id, interface_id, region, skipdata), objects (account_id, region, set_aside, refused_*),
--          silent (account_id, region of flow logs that fell silent)
-- returns: account_id, interface_id. Not whole: flows were lost (SKIPDATA), or an object of the same account and region
--          was set aside (but as another kind of log) or has refused lines, or a flow log of theirs fell silent. An
--          interface without region is judged by its account in every region, one of an account that owns no object
--          (unknown, or seen by another account's flow log) by every object there is
-- order:   account_id, interface_id
WITH blind AS (
    SELECT account_id, region
    FROM objects
    WHERE (set_aside IS NOT NULL AND set_aside NOT LIKE 'transit gateway%')
       OR refused_fields + refused_encoding + refused_address + refused_number + refused_range > 0
    UNION
    SELECT account_id, region
    FROM silent
),
owners AS (
    SELECT DISTINCT account_id
    FROM objects
)
SELECT i.account_id, i.interface_id
FROM interfaces AS i
LEFT JOIN owners AS o ON o.account_id = i.account_id
LEFT JOIN blind AS b
  ON (o.account_id IS NULL OR b.account_id = i.account_id)
 AND (o.account_id IS NULL OR i.region IS NULL OR b.region = i.region)
GROUP BY i.account_id, i.interface_id
HAVING count(b.account_id) = 0 AND max(i.skipdata) = 0
ORDER BY i.account_id, i.interface_id
