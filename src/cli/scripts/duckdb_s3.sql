
-- The bucket, with the credentials that DuckDB finds as every AWS tool does.
INSTALL httpfs;
LOAD httpfs;
INSTALL aws;
LOAD aws;
CREATE OR REPLACE SECRET flowdiff ({options});
