-- The digests of a flowdiff store as views of DuckDB: edges, interfaces, objects and windows.
--
--     flowdiff duckdb-init > flowdiff.sql && duckdb -init flowdiff.sql
--
-- The views show what was published when this script ran, of each window the newest version: run it again to see more.
-- A window is three columns: window_start, window_stop and window_width in seconds; predicates on them open no other
-- files. Windows that overlap, such as an hour and its day, are all there, unlike in flowdiff's own tables: a sum over both
-- counts twice, so ask for one width (window_width = 3600).

SET TimeZone = 'UTC';
{bucket}
-- What is published: a manifest is there as soon as its digest is whole. Files that no manifest names do not count.
CREATE OR REPLACE TEMP TABLE flowdiff_manifests AS
SELECT start AS window_start, stop AS window_stop, CAST(epoch(stop) - epoch(start) AS BIGINT) AS window_width,
       version, state, published, files, totals, coverage, cost,
       if(state = 'final', stop, coverage.last_seen) AS reached,
       regexp_replace(filename, '[^/]+$', '') AS folder
FROM read_json(
    {manifests},
    format = 'unstructured',
    filename = true,
    hive_partitioning = false,
    columns = {
        start: 'TIMESTAMPTZ', stop: 'TIMESTAMPTZ', version: 'BIGINT', state: 'VARCHAR', published: 'TIMESTAMPTZ',
        files: 'STRUCT(kind VARCHAR, name VARCHAR)[]',
        totals: 'STRUCT(edges BIGINT, flows BIGINT, packets BIGINT, bytes BIGINT)',
        coverage: 'STRUCT(objects_listed BIGINT, objects_read BIGINT, objects_set_aside BIGINT, records BIGINT, nodata BIGINT, skipdata BIGINT, lines_refused BIGINT, interfaces BIGINT, last_seen TIMESTAMPTZ, silent_flow_logs VARCHAR[])',
        cost: 'STRUCT(bytes_read BIGINT, wall_seconds DOUBLE, cpu_seconds DOUBLE, peak_memory_bytes BIGINT)'
    }
)
QUALIFY row_number() OVER (PARTITION BY start, stop ORDER BY version DESC) = 1;

-- The newest file of a kind for each window. Paths are patterns to DuckDB, so what means something in one is set in [].
CREATE OR REPLACE TEMP MACRO flowdiff_files(wanted) AS (
    SELECT list(regexp_replace(folder || file.name, '([*?[])', '[\1]', 'g') ORDER BY window_start, window_stop)
    FROM (SELECT folder, window_start, window_stop, unnest(files) AS file FROM flowdiff_manifests)
    WHERE file.kind = wanted
);
-- A window from its folder: start=20261120T1200Z.
CREATE OR REPLACE TEMP MACRO flowdiff_time(folder) AS strptime(folder || '+0000', '%Y%m%dT%H%MZ%z');

SET VARIABLE flowdiff_edges = flowdiff_files('edges');
SET VARIABLE flowdiff_interfaces = flowdiff_files('interfaces');
SET VARIABLE flowdiff_objects = flowdiff_files('objects');

CREATE OR REPLACE TEMP MACRO flowdiff_read(variable) AS TABLE
SELECT * EXCLUDE ("date", "start", "stop"),
       flowdiff_time("start") AS window_start, flowdiff_time("stop") AS window_stop,
       CAST(epoch(flowdiff_time("stop")) - epoch(flowdiff_time("start")) AS BIGINT) AS window_width
FROM read_parquet(getvariable(variable), hive_partitioning = true,
                  hive_types = {"date": 'DATE', "start": 'VARCHAR', "stop": 'VARCHAR'});

CREATE OR REPLACE TEMP VIEW edges AS FROM flowdiff_read('flowdiff_edges');
CREATE OR REPLACE TEMP VIEW interfaces AS FROM flowdiff_read('flowdiff_interfaces');
CREATE OR REPLACE TEMP VIEW objects AS FROM flowdiff_read('flowdiff_objects');

CREATE OR REPLACE TEMP VIEW windows AS
SELECT window_start, window_stop, window_width, version, state, published, coverage.last_seen AS last_seen,
       CAST(if(published < reached, 0, trunc(epoch(published) - epoch(reached))) AS BIGINT) AS lag_seconds,
       totals.edges AS edges, totals.flows AS flows, totals.packets AS packets, totals.bytes AS bytes,
       coverage.objects_listed AS objects_listed, coverage.objects_read AS objects_read,
       coverage.objects_set_aside AS objects_set_aside, coverage.records AS records, coverage.nodata AS nodata,
       coverage.skipdata AS skipdata, coverage.lines_refused AS lines_refused, coverage.interfaces AS interfaces,
       len(coverage.silent_flow_logs) AS silent_flow_logs, cost.bytes_read AS bytes_read,
       cost.wall_seconds AS wall_seconds, cost.cpu_seconds AS cpu_seconds,
       cost.peak_memory_bytes AS peak_memory_bytes
FROM flowdiff_manifests;
