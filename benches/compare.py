#!/usr/bin/env python3
"""Holds what flowdiff says of two hours of flow logs against what DuckDB says of the same objects.

    compare.py FLOWDIFF BEFORE AFTER WORK [--start 2018-10-25T12:00Z] [--options="--threads 1"]

FLOWDIFF is the binary; BEFORE and AFTER are folders with text objects of the first and of the second hour (one folder
may hold both); WORK is a folder for the results. Each command's result is computed twice: by flowdiff, and in SQL that
is written for DuckDB here, from the gzip objects on, for whatever fields their headers name. Prints a line for each
result with its rows and `equal` or `DIFFERENT`, then rows that only one side has; exit code 1 if any differs. The logs
must be without refused lines and silent flow logs, as the generators write them: what becomes of those is not checked.

Needs duckdb (PyPI); with pyarrow the published files are read by it too. Only the table of service ports is flowdiff's.
"""
import argparse
import collections
import datetime
import gzip
import ipaddress
import json
import pathlib
import shlex
import subprocess
import sys

ADDRESSES = "srcaddr dstaddr pkt_srcaddr pkt_dstaddr".split()
RESOURCES = "region vpc_id subnet_id instance_id interface_type".split()
TEXTS = ["version", "account_id", "interface_id", *ADDRESSES, *RESOURCES, "action", "log_status"]
NUMBERS = "srcport dstport protocol packets bytes start end tcp_flags".split()

KEY = "account_id interface_id srcaddr dstaddr srcport dstport protocol action".split()
COUNTERS = "flows packets bytes".split()
MEASURES = [*COUNTERS, "first_seen", "last_seen", "tcp_flags"]
GRAINS = {"edge": KEY, "link": KEY[2:], "host": KEY[2:4], "interface": KEY[:2]}
RATIO, MIN_BYTES = 2, 1_000_000
FILE_TIME_EARLY, LATENESS = 600, 1800

SOURCE_SERVES = {
    "lower": "srcport < dstport",
    "service": """CASE
        WHEN protocol = 6 AND (tcp_flags & 2) <> 0 THEN (tcp_flags & 16) <> 0
        WHEN (srcport < 1024) <> (dstport < 1024) THEN srcport < 1024
        WHEN (srcport IN (FROM services)) <> (dstport IN (FROM services)) THEN srcport IN (FROM services)
        WHEN (srcport < 32768) <> (dstport < 32768) THEN srcport < 32768
        ELSE action <> 'REJECT' AND srcport < dstport END""",
}
EDGE_ADDRESS = {"packet": "coalesce(pkt_{0}, {0})", "interface": "{0}"}

# Both sides run these; {flows}, {half} (the middle of the first hour as `end` has it) differ.
STATEMENTS = {
    "ports": """SELECT dstport, action, count(*) AS flows, sum(bytes) AS bytes, count(DISTINCT srcaddr) AS sources
                FROM {flows} WHERE dstport < 1024 AND log_status = 'OK' GROUP BY dstport, action""",
    "accounts": """SELECT account_id, log_status, count(*) AS records, sum(packets) AS packets, max(bytes) AS most
                   FROM {flows} GROUP BY account_id, log_status""",
    "half an hour": """SELECT interface_id, count(*) AS records, min(srcaddr) AS first, max(dstaddr) AS last
                       FROM {flows} WHERE "end" >= {half} AND action = 'REJECT' GROUP BY interface_id""",
}


def columns(names):
    """A list of columns for both sides' results: times as Unix seconds."""
    seconds = {name: f"epoch({name})::BIGINT AS {name}" for name in ("first_seen", "last_seen")}
    return ", ".join(seconds.get(name, name) for name in names)


def published(folder):
    """The files of the newest digest in a window's folder, by kind."""
    manifest = json.loads(max(folder.glob("*.json")).read_text())
    return {file["kind"]: folder / file["name"] for file in manifest["files"]}


class Hour:
    """One hour and its objects; its name is the schema of DuckDB's tables about it."""

    def __init__(self, name, folder, start):
        self.name, self.folder, self.start = name, pathlib.Path(folder), start
        self.stop = start + datetime.timedelta(hours=1)
        self.seconds = int(start.timestamp())
        self.window = start.strftime("%Y-%m-%dT%H:%MZ/PT1H")
        self.within = f'"end" >= {self.seconds} AND "end" < {self.seconds + 3600}'
        self.paths = sorted(self.folder.glob("**/AWSLogs/**/*.log.gz"))

    def formats(self):
        """The objects by the fields that their headers name."""
        formats = collections.defaultdict(list)
        for path in self.paths:
            with gzip.open(path, "rt") as lines:
                formats[tuple(lines.readline().replace("-", "_").split())].append(str(path))
        return formats


def hours(arguments):
    before = Hour("before", arguments.before, datetime.datetime.fromisoformat(arguments.start))
    return before, Hour("after", arguments.after, before.stop)


class Comparison:
    def __init__(self, arguments):
        import duckdb

        self.arguments = arguments
        self.work = pathlib.Path(arguments.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.store = self.work / f"digests-{arguments.port_rule}-{arguments.addresses}"
        tables = self.work / "compare.duckdb"
        tables.unlink(missing_ok=True)
        self.duck = duckdb.connect(str(tables))
        self.duck.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        self.differences = 0
        self.hours = self.before, self.after = hours(arguments)

    def flowdiff(self, name, *command, hour=None, form="parquet"):
        """Runs a command. What it writes becomes the table `ours.<name>`, if it is Parquet; else returns the file."""
        path = self.work / f"{name}.{form}"
        rules = ["--port-rule", self.arguments.port_rule, "--addresses", self.arguments.addresses]
        command = [self.arguments.flowdiff, *command, *rules, *shlex.split(self.arguments.options), "--format", form,
                   "--source", str((hour or self.before).folder), "--store", str(self.store), "--output", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        if form == "parquet":
            self.duck.execute(f"CREATE OR REPLACE TABLE ours.{name} AS FROM read_parquet('{path}')")
        return path

    def equal(self, what, ours, theirs):
        """Compares two queries as bags of rows and prints the verdict."""
        rows, expected = self.count(ours), self.count(theirs)
        sides = {"flowdiff": f"({ours}) EXCEPT ALL ({theirs})", "DuckDB": f"({theirs}) EXCEPT ALL ({ours})"}
        only = {side: self.count(query) for side, query in sides.items()}
        if not any(only.values()):
            print(f"{what}: {rows} rows, equal", flush=True)
            return
        self.differences += 1
        print(f"{what}: {rows} rows, DuckDB {expected}, DIFFERENT", flush=True)
        for side, query in sides.items():
            print(f"  only {side}: {only[side]}")
            for (row,) in self.duck.execute(f"SELECT t::VARCHAR FROM ({query}) t ORDER BY 1 LIMIT 3").fetchall():
                print(f"    {row}")

    def count(self, query):
        [(rows,)] = self.duck.execute(f"SELECT count(*) FROM ({query})").fetchall()
        return rows

    def load(self):
        """The objects as DuckDB reads them, and what a digest of them holds."""
        self.duck.execute("CREATE SCHEMA ours")
        self.flowdiff("services", "sql", "SELECT value AS port FROM generate_series(1, 65535) "
                      "WHERE coalesce(service_name(value, 6), service_name(value, 17)) IS NOT NULL")
        self.duck.execute("CREATE TABLE services AS FROM ours.services")
        for hour in self.hours:
            self.duck.execute(f"CREATE SCHEMA {hour.name}; USE {hour.name}")
            self.load_objects(hour)
            self.load_flows(hour)
            self.load_digest(hour)
        self.duck.execute("USE main")

    def load_objects(self, hour):
        keys = [str(path.relative_to(hour.folder)) for path in hour.paths]
        self.duck.execute("CREATE TABLE stored AS SELECT unnest(?) AS object_key, unnest(?) AS path, unnest(?) AS size",
                          [keys, [str(path) for path in hour.paths], [path.stat().st_size for path in hour.paths]])
        name = r"([^/_]+)_vpcflowlogs_([^_]+)_([^_]+)_(\d{8}T\d{4})Z_[^_]+$"
        self.duck.execute(f"""
            CREATE TABLE objects AS
            SELECT object_key, path, size, name.account_id, name.region, name.flow_log_id,
                   epoch(strptime(name.time, '%Y%m%dT%H%M'))::BIGINT AS file_time
            FROM (SELECT *, regexp_extract(object_key, '{name}', ['account_id', 'region', 'flow_log_id', 'time'])
                            AS name FROM stored)""")

    def load_flows(self, hour):
        types = dict.fromkeys(TEXTS, "VARCHAR") | dict.fromkeys(NUMBERS, "BIGINT")
        nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in types.items())
        reads = [f"SELECT {nothing}, NULL::VARCHAR AS filename WHERE false"]
        for fields, paths in hour.formats().items():
            named = {field: types.get(field, "VARCHAR") for field in fields}
            reads.append(f"FROM read_csv({paths}, delim=' ', header=true, auto_detect=false, nullstr='-', quote='', "
                         f"escape='', columns={named}, filename=true)")
        self.duck.execute(f"""
            CREATE TABLE flows AS
            SELECT f.* REPLACE (coalesce(f.account_id, o.account_id) AS account_id,
                                coalesce(f.region, o.region) AS region), o.object_key
            FROM ({' UNION ALL BY NAME '.join(reads)}) f JOIN objects o ON o.path = f.filename""")
        for column in ADDRESSES:
            self.write_canonically(column)

    def write_canonically(self, column):
        """Writes IPv6 addresses as RFC 5952 has them, by Python's word."""
        texts = self.duck.execute(f"SELECT DISTINCT {column} FROM flows WHERE {column} LIKE '%:%'").fetchall()
        canonical = {text: str(ipaddress.ip_address(text)) for (text,) in texts}
        odd = {text: address for text, address in canonical.items() if text != address}
        if odd:
            self.duck.execute(f"""UPDATE flows SET {column} = address
                                  FROM (SELECT unnest(?) AS text, unnest(?) AS address) WHERE {column} = text""",
                              [list(odd.keys()), list(odd.values())])

    def load_digest(self, hour):
        address = EDGE_ADDRESS[self.arguments.addresses]
        self.duck.execute(f"""
            CREATE TABLE edges AS
            WITH keyed AS (
                SELECT coalesce(account_id, '-') AS account_id, coalesce(interface_id, '-') AS interface_id,
                       {address.format('srcaddr')} AS srcaddr, {address.format('dstaddr')} AS dstaddr,
                       coalesce(srcport, 0) AS srcport, coalesce(dstport, 0) AS dstport,
                       coalesce(protocol, 255) AS protocol, coalesce(action, '-') AS action,
                       packets, bytes, coalesce(start, "end") AS start, "end", tcp_flags
                FROM flows
                WHERE {hour.within} AND coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA'))
            SELECT account_id, interface_id, srcaddr, dstaddr, CASE WHEN serves THEN srcport ELSE 0 END AS srcport,
                   CASE WHEN serves THEN 0 ELSE dstport END AS dstport, protocol, action,
                   count(*) AS flows, coalesce(sum(packets), 0)::BIGINT AS packets,
                   coalesce(sum(bytes), 0)::BIGINT AS bytes, min(start) AS first_seen, max("end") AS last_seen,
                   bit_or(tcp_flags) AS tcp_flags
            FROM (SELECT *, {SOURCE_SERVES[self.arguments.port_rule]} AS serves FROM keyed)
            WHERE srcaddr IS NOT NULL AND dstaddr IS NOT NULL
            GROUP BY ALL""")
        tallies = """count(*) FILTER (coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA')) AS ok,
                     count(*) FILTER (log_status = 'NODATA') AS nodata,
                     count(*) FILTER (log_status = 'SKIPDATA') AS skipdata"""
        resources = ", ".join(f"min({column}) AS {column}" for column in RESOURCES)
        self.duck.execute(f"""
            CREATE TABLE interfaces AS
            SELECT coalesce(account_id, '-') AS account_id, coalesce(interface_id, '-') AS interface_id, {resources},
                   {tallies}, min(coalesce(start, "end")) AS first_seen, max("end") AS last_seen
            FROM flows WHERE {hour.within} GROUP BY 1, 2""")
        self.duck.execute(f"""
            CREATE TABLE tallies AS
            SELECT object_key, size, file_time, account_id, region, flow_log_id,
                   coalesce(a.records, 0) AS records, coalesce(ok, 0) AS ok, coalesce(nodata, 0) AS nodata,
                   coalesce(skipdata, 0) AS skipdata, a.first_end, a.last_end
            FROM objects
            LEFT JOIN (SELECT object_key, count(*) AS records, min("end") AS first_end, max("end") AS last_end
                       FROM flows GROUP BY object_key) a USING (object_key)
            LEFT JOIN (SELECT object_key, {tallies} FROM flows WHERE {hour.within}
                       GROUP BY object_key) USING (object_key)
            WHERE file_time >= {hour.seconds - FILE_TIME_EARLY} AND file_time < {hour.seconds + 3600 + LATENESS}""")

    def digests(self):
        for hour in self.hours:
            self.flowdiff(f"digest_{hour.name}", "digest", hour.window, "--force", hour=hour, form="json")
            [folder] = self.store.glob(f"v1/digests/*/start={hour.start:%Y%m%dT%H%MZ}/stop={hour.stop:%Y%m%dT%H%MZ}")
            files = published(folder)
            ours = {kind: f"read_parquet('{path}', hive_partitioning=false)" for kind, path in files.items()}
            names = columns([*KEY, *MEASURES])
            self.equal(f"digest {hour.name}, edges", f"SELECT {names} FROM {ours['edges']}",
                       f"SELECT {', '.join([*KEY, *MEASURES])} FROM {hour.name}.edges")
            self.equal(f"digest {hour.name}, interfaces",
                       f"SELECT * REPLACE ({columns(['first_seen', 'last_seen'])}) FROM {ours['interfaces']}",
                       f"FROM {hour.name}.interfaces")
            self.equal(f"digest {hour.name}, objects", f"""
                SELECT object_key, size, epoch(file_time)::BIGINT, account_id, region, flow_log_id, records, ok, nodata,
                       skipdata, epoch(first_end)::BIGINT, epoch(last_end)::BIGINT
                FROM {ours['objects']}""", f"FROM {hour.name}.tallies")
            for kind, path in files.items():
                self.read_with_pyarrow(hour, kind, path, ours[kind])

    def read_with_pyarrow(self, hour, kind, path, ours):
        try:
            import pyarrow.parquet
        except ImportError:
            return
        file = pyarrow.parquet.ParquetFile(path)
        self.duck.register("arrow", file.read())
        self.equal(f"digest {hour.name}, {kind} as pyarrow reads them", "FROM arrow", f"FROM {ours}")
        print("  " + ", ".join(f"{field.name} {field.type}" for field in file.schema_arrow))
        self.duck.unregister("arrow")

    def edges(self):
        for hour in self.hours:
            self.flowdiff("edges", "edges", hour.window, hour=hour)
            self.equal(f"edges {hour.name}", f"SELECT {columns([*KEY, *MEASURES])} FROM ours.edges",
                       f"SELECT {', '.join([*KEY, *MEASURES])} FROM {hour.name}.edges")

    def diffs(self):
        self.duck.execute("CREATE TABLE before.seen AS FROM after.interfaces WHERE skipdata = 0;"
                          "CREATE TABLE after.seen AS FROM before.interfaces")
        for grain, key in GRAINS.items():
            for hour in self.hours:
                self.duck.execute(f"CREATE OR REPLACE TABLE {hour.name}.folded AS {folded(hour.name, grain)}")
            name = f"diff_{grain}"
            self.flowdiff(name, "diff", self.before.window, self.after.window, "--by", grain)
            counters = [f"{column}_before" for column in COUNTERS]
            self.equal(f"diff by {grain}",
                       f"SELECT {columns(['change', 'evidence', *key, *MEASURES, *counters])} FROM ours.{name}", f"""
                SELECT CASE WHEN b.flows IS NULL THEN 'added' WHEN a.flows IS NULL THEN 'removed' ELSE 'changed' END,
                       CASE WHEN b.flows IS NULL THEN CASE WHEN a.observed THEN 'new' ELSE 'unobserved_before' END
                            WHEN a.flows IS NULL THEN CASE WHEN b.observed THEN 'gone' ELSE 'unobserved_after' END
                            ELSE 'volume' END,
                       {', '.join(f'coalesce(a.{column}, b.{column})' for column in key)},
                       {', '.join(f'CASE WHEN a.flows IS NULL THEN b.{column} ELSE a.{column} END'
                                  for column in MEASURES)},
                       {', '.join(f'b.{column}' for column in COUNTERS)}
                FROM before.folded b FULL JOIN after.folded a
                     ON {' AND '.join(f'a.{column} = b.{column}' for column in key)}
                WHERE a.flows IS NULL OR b.flows IS NULL
                   OR (abs(a.bytes - b.bytes) >= {MIN_BYTES}
                       AND greatest(a.bytes, b.bytes) >= {RATIO} * least(a.bytes, b.bytes))""")

    def graph(self):
        path = self.flowdiff("graph", "graph", self.before.window, form="dot")
        attributes = ["accountID", "eniID", "srcPort", "dstPort", "protocol", "packets", "bytes", "start", "end"]
        pattern = '^"(.+)" -> "(.+)" \\[' + " ".join(f'govpc_{name}="(.+?)"' for name in attributes) + " color=(.+?) "
        names = ["srcaddr", "dstaddr", *attributes, "color"]
        self.duck.execute(f"""
            CREATE TABLE ours.graph AS
            SELECT unnest(regexp_extract(line, '{pattern}', {names}))
            FROM read_csv('{path}', header=false, delim='\\x01', quote='', escape='', columns={{'line': 'VARCHAR'}},
                          auto_detect=false)
            WHERE line LIKE '% -> %'""")
        self.equal("graph", "FROM ours.graph", """
            SELECT srcaddr, dstaddr, account_id, interface_id, srcport::VARCHAR, dstport::VARCHAR, protocol::VARCHAR,
                   packets::VARCHAR, bytes::VARCHAR, first_seen::VARCHAR, last_seen::VARCHAR,
                   CASE action WHEN 'REJECT' THEN 'red' ELSE 'green' END
            FROM before.edges""")

    def sql(self):
        half = self.before.start + datetime.timedelta(minutes=30)
        for name, statement in STATEMENTS.items():
            self.flowdiff("sql", "sql", statement.format(flows="flows", half=f"TIMESTAMP '{half:%Y-%m-%dT%H:%M:%SZ}'"))
            self.equal(f"sql, {name}", "FROM ours.sql",
                       statement.format(flows="before.flows", half=self.before.seconds + 1800))

    def windows(self):
        bounds = (f"{time:%Y-%m-%dT%H:%MZ}" for time in (self.before.start, self.after.stop))
        self.flowdiff("windows", "windows", *(word for pair in zip(("--from", "--to"), bounds) for word in pair))
        self.equal("windows", """
            SELECT epoch(window_start)::BIGINT, epoch(window_stop)::BIGINT, state, edges, flows, bytes, objects_read,
                   objects_listed, skipdata, interfaces, objects_set_aside + lines_refused + silent_flow_logs
            FROM ours.windows""", " UNION ALL ".join(f"""
            SELECT {hour.seconds}, {hour.seconds + 3600}, 'final', count(*), sum(flows), sum(bytes),
                   (SELECT count(*) FROM {hour.name}.tallies), (SELECT count(*) FROM {hour.name}.tallies),
                   (SELECT sum(skipdata) FROM {hour.name}.interfaces), (SELECT count(*) FROM {hour.name}.interfaces), 0
            FROM {hour.name}.edges""" for hour in self.hours))

    def explain(self):
        """The records behind the busiest edge; each is looked up by its object and line, too."""
        [(interface, source, destination, port, protocol)] = self.duck.execute(f"""
            SELECT interface_id, srcaddr, dstaddr, greatest(srcport, dstport), protocol
            FROM before.edges ORDER BY flows DESC, {', '.join(KEY)} LIMIT 1""").fetchall()
        self.flowdiff("explain", "explain", self.before.window, "--srcaddr", source, "--dstaddr", destination,
                      "--port", str(port), "--protocol", str(protocol), "--interface-id", interface,
                      "--limit", "1000000000")
        names = [*KEY, "packets", "bytes", "tcp_flags", "log_status"]
        self.equal("explain", f"""
            SELECT object_key, {', '.join(names)}, epoch(start)::BIGINT, epoch("end")::BIGINT FROM ours.explain""", f"""
            SELECT object_key, {', '.join(names)}, start, "end" FROM before.flows
            WHERE {self.before.within} AND coalesce(log_status, 'OK') NOT IN ('NODATA', 'SKIPDATA')
              AND '{source}' IN (srcaddr, pkt_srcaddr) AND '{destination}' IN (dstaddr, pkt_dstaddr)
              AND {port} IN (srcport, dstport) AND protocol = {protocol} AND interface_id = '{interface}'""")
        names = "interface_id srcaddr dstaddr srcport dstport protocol packets bytes action".split()
        self.duck.execute("CREATE TABLE before.lines AS SELECT unnest(?) AS object_key, unnest(?) AS line, "
                          "unnest(?) AS fields", list(self.lines_explained(names)))
        self.equal("explain, lines", f"""
            SELECT object_key, line, [{', '.join(f"coalesce({name}::VARCHAR, '-')" for name in names)}]
            FROM ours.explain""", "FROM before.lines")

    def lines_explained(self, names):
        """Columns of objects, lines and named fields: the lines that explain told of, as the objects have them."""
        wanted = collections.defaultdict(set)
        for key, line in self.duck.execute("SELECT object_key, line FROM ours.explain").fetchall():
            wanted[key].add(line)
        rows = []
        for key, numbers in wanted.items():
            with gzip.open(self.before.folder / key, "rt") as lines:
                header = next(lines).replace("-", "_").split()
                for number, line in enumerate(lines, 2):
                    if number in numbers:
                        fields = dict(zip(header, line.split()))
                        rows.append((key, number, [fields[name] for name in names]))
        return zip(*rows)


def folded(hour, grain):
    """The edges of an hour at a grain, each with whether the other digest observed an interface that reported it."""
    link = ", ".join(f"e.{column}" for column in GRAINS["link"])
    ranked = f"""
        SELECT e.*, s.account_id IS NOT NULL AS observed,
               row_number() OVER (PARTITION BY {link} ORDER BY e.bytes DESC, e.packets DESC, e.flows DESC,
                                  e.account_id, e.interface_id) AS place
        FROM {hour}.edges e LEFT JOIN {hour}.seen s USING (account_id, interface_id)"""
    # A link counts once, as its larger report; an edge and an interface have one reporter.
    once = "place = 1" if grain in ("link", "host") else "true"
    reporter = once if grain == "link" else "true"
    sums = ", ".join(f"sum({column}) FILTER ({once})::BIGINT AS {column}" for column in COUNTERS)
    return f"""SELECT {', '.join(GRAINS[grain])}, {sums}, min(first_seen) FILTER ({reporter}) AS first_seen,
                      max(last_seen) FILTER ({reporter}) AS last_seen,
                      bit_or(tcp_flags) FILTER ({reporter}) AS tcp_flags, bool_or(observed) AS observed
               FROM ({ranked}) GROUP BY ALL"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowdiff", help="the binary")
    parser.add_argument("before", help="folder with the objects of the first hour")
    parser.add_argument("after", help="folder with those of the hour after it")
    parser.add_argument("work", help="folder for the results")
    parser.add_argument("--start", default="2018-10-25T12:00Z", help="begin of the first hour (default %(default)s)")
    parser.add_argument("--port-rule", default="service", choices=SOURCE_SERVES)
    parser.add_argument("--addresses", default="packet", choices=EDGE_ADDRESS)
    parser.add_argument("--options", default="", help="options for every flowdiff command, in one word")
    comparison = Comparison(parser.parse_args())
    for step in ("load", "digests", "edges", "diffs", "graph", "sql", "windows", "explain"):
        getattr(comparison, step)()
    sys.exit(1 if comparison.differences else 0)


if __name__ == "__main__":
    main()
