
-- Every file of the days since {since}, of all kinds and versions; the view takes what counts.
CREATE EXTERNAL TABLE IF NOT EXISTS flowdiff_{kind}_files (
{columns}
)
PARTITIONED BY (`date` string)
STORED AS PARQUET
LOCATION '{digests}/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.date.type' = 'date',
    'projection.date.format' = 'yyyy-MM-dd',
    'projection.date.range' = '{since},NOW',
    'projection.date.interval' = '1',
    'projection.date.interval.unit' = 'DAYS',
    'storage.location.template' = '{digests}/date=${date}/'
);

CREATE OR REPLACE VIEW {kind} AS
WITH newest AS (
    -- Names begin with the version, in digits of one length: the last is the newest.
    SELECT "date" AS window_date, max("$path") AS path,
           date_parse(regexp_extract("$path", '/start=([0-9]{8}T[0-9]{4})Z/', 1), '%Y%m%dT%H%i') AS window_start,
           date_parse(regexp_extract("$path", '/stop=([0-9]{8}T[0-9]{4})Z/', 1), '%Y%m%dT%H%i') AS window_stop
    FROM flowdiff_{kind}_files
    WHERE "$path" LIKE '%.{kind}.parquet'
    GROUP BY "date", regexp_extract("$path", '/start=([0-9]{8}T[0-9]{4})Z/', 1),
             regexp_extract("$path", '/stop=([0-9]{8}T[0-9]{4})Z/', 1)
)
SELECT {names},
       newest.window_date, newest.window_start, newest.window_stop,
       date_diff('second', newest.window_start, newest.window_stop) AS window_width
FROM flowdiff_{kind}_files AS files
JOIN newest ON files."date" = newest.window_date AND files."$path" = newest.path;
