#!/usr/bin/env python3
"""Compares what flowdiff says of two generated hours with what DuckDB says of the same objects.

    compare.py FLOWDIFF BEFORE AFTER WORK [--start 2018-10-25T12:00Z]

FLOWDIFF is the binary, BEFORE and AFTER are folders with an hour of version 2 flow logs each, WORK is a folder for the
results of both. Digests, edges, diffs at every grain, graph, SQL, windows and explain are computed twice: by flowdiff,
and by SQL that is written for DuckDB here, from the gzip objects on. Prints a line for each; exit code 1 if any
differs. Needs duckdb (PyPI); with pyarrow the published files are read with it too.
"""
import argparse
import datetime
import ipaddress
import pathlib
import subprocess
import sys

import duckdb

KEY = "account_id interface_id srcaddr dstaddr srcport dstport protocol action".split()
SUMS = "flows packets bytes".split()
MEASURES = SUMS + ["first_seen", "last_seen"]
GRAINS = {"edge": KEY, "link": KEY[2:], "host": KEY[2:4], "interface": KEY[:2]}
RATIO, FLOOR = 2, 1_000_000

# The port rule `service` for records without TCP flags, in DuckDB's words.
SOURCE_SERVES = """CASE
    WHEN (srcport < 1024) <> (dstport < 1024) THEN srcport < 1024
    WHEN (srcport IN (FROM services)) <> (dstport IN (FROM services)) THEN srcport IN (FROM services)
    WHEN (srcport < 32768) <> (dstport < 32768) THEN srcport < 32768
    ELSE action IS DISTINCT FROM 'REJECT' AND srcport < dstport END"""


class Comparison:
    def __init__(self, arguments):
        self.binary = arguments.flowdiff
        self.work = pathlib.Path(arguments.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.store = self.work / "digests"
        self.duck = duckdb.connect()
        self.duck.execute("SET TimeZone = 'UTC'")
        self.differences = 0
        start = datetime.datetime.fromisoformat(arguments.start)
        hour = datetime.timedelta(hours=1)
        self.hours = {"before": (arguments.before, start), "after": (arguments.after, start + hour)}

    def window(self, name):
        return self.hours[name][1].strftime("%Y-%m-%dT%H:%MZ") + "/PT1H"

    def flowdiff(self, name, *arguments, output=None, source="before"):
        """Runs flowdiff; with `output`, its rows become the table `flowdiff_<name>`."""
        command = [self.binary, *arguments, "--source", self.hours[source][0], "--store", str(self.store)]
        if output:
            path = self.work / f"{name}.{output}"
            command += ["--format", output, "--output", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        if output == "parquet":
            self.duck.execute(f"CREATE OR REPLACE TABLE flowdiff_{name} AS FROM read_parquet('{path}')")
        return path if output else done.stdout

    def equal(self, what, ours, theirs):
        """Compares two queries as bags of rows and prints the verdict."""
        query = "SELECT count(*) FROM (({}) EXCEPT ALL ({}))"
        [(rows,)] = self.duck.execute(f"SELECT count(*) FROM ({ours})").fetchall()
        [(more,)] = self.duck.execute(query.format(ours, theirs)).fetchall()
        [(fewer,)] = self.duck.execute(query.format(theirs, ours)).fetchall()
        print(f"{what}: {rows} rows, {'equal' if more == fewer == 0 else 'DIFFERENT'}", flush=True)
        if more or fewer:
            self.differences += 1
            for sign, a, b in (("flowdiff", ours, theirs), ("DuckDB", theirs, ours)):
                for row in self.duck.execute(f"({a}) EXCEPT ALL ({b}) LIMIT 3").fetchall():
                    print(f"  only {sign}: {row}")

    def load(self):
        """The objects as DuckDB reads them, and what a digest of them holds."""
        columns = dict.fromkeys("version account_id interface_id srcaddr dstaddr".split(), "VARCHAR")
        columns |= dict.fromkeys("srcport dstport protocol".split(), "INTEGER")
        columns |= dict.fromkeys("packets bytes start end".split(), "BIGINT")
        columns |= dict.fromkeys("action log_status".split(), "VARCHAR")
        services = self.flowdiff(
            "services", "sql", "SELECT value AS port FROM generate_series(1, 65535) WHERE "
            "coalesce(service_name(value, 6), service_name(value, 17)) IS NOT NULL", output="parquet")
        self.duck.execute(f"CREATE TABLE services AS FROM read_parquet('{services}')")
        for name, (folder, start) in self.hours.items():
            second = int(start.timestamp())
            objects = f"{folder}/AWSLogs/*/vpcflowlogs/*/*/*/*/*.log.gz"
            self.duck.execute(f"""
                CREATE TABLE flows_{name} AS
                FROM read_csv('{objects}', delim=' ', header=true, auto_detect=false, nullstr='-', quote='', escape='',
                              columns={columns}, filename='object_key')
                WHERE "end" >= {second} AND "end" < {second + 3600}""")
            self.write_addresses_canonically(f"flows_{name}")
            self.duck.execute(f"""
                CREATE TABLE edges_{name} AS
                SELECT account_id, interface_id, srcaddr, dstaddr,
                       CASE WHEN serves THEN srcport ELSE 0 END AS srcport,
                       CASE WHEN serves THEN 0 ELSE dstport END AS dstport, protocol, action,
                       count(*) AS flows, sum(packets)::BIGINT AS packets, sum(bytes)::BIGINT AS bytes,
                       min(start) AS first_seen, max("end") AS last_seen
                FROM (SELECT *, {SOURCE_SERVES} AS serves FROM flows_{name} WHERE log_status = 'OK')
                GROUP BY ALL""")
            self.duck.execute(f"""
                CREATE TABLE interfaces_{name} AS
                SELECT account_id, interface_id, count(*) FILTER (log_status = 'OK') AS ok,
                       count(*) FILTER (log_status = 'NODATA') AS nodata,
                       count(*) FILTER (log_status = 'SKIPDATA') AS skipdata,
                       min(start) AS first_seen, max("end") AS last_seen
                FROM flows_{name} GROUP BY ALL""")

    def write_addresses_canonically(self, table):
        """Writes IPv6 addresses as RFC 5952 has them, by Python's word."""
        self.duck.execute("CREATE OR REPLACE TABLE canonical (text VARCHAR PRIMARY KEY, address VARCHAR)")
        for column in ("srcaddr", "dstaddr"):
            texts = self.duck.execute(
                f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE '%:%' AND {column} NOT IN "
                "(SELECT text FROM canonical)").fetchall()
            if texts:
                rows = [(text, str(ipaddress.ip_address(text))) for (text,) in texts]
                self.duck.executemany("INSERT INTO canonical VALUES (?, ?)", rows)
            self.duck.execute(f"UPDATE {table} SET {column} = address FROM canonical WHERE {column} = text")

    def digests(self):
        for name in self.hours:
            self.flowdiff(name, "digest", self.window(name), "--force", source=name)
            edges, interfaces, objects = (f"read_parquet('{self.file(name, kind)}')"
                                          for kind in ("edges", "interfaces", "objects"))
            times = 'epoch(first_seen)::BIGINT AS first_seen, epoch(last_seen)::BIGINT AS last_seen'
            columns = ", ".join(KEY + SUMS)
            self.equal(f"digest {name}, edges", f"SELECT {columns}, {times} FROM {edges}",
                       f"SELECT {columns}, first_seen, last_seen FROM edges_{name}")
            columns = "account_id, interface_id, ok, nodata, skipdata"
            self.equal(f"digest {name}, interfaces", f"SELECT {columns}, {times} FROM {interfaces}",
                       f"SELECT {columns}, first_seen, last_seen FROM interfaces_{name}")
            self.equal(f"digest {name}, objects", f"SELECT count(*), sum(ok) FROM {objects}",
                       f"SELECT count(DISTINCT object_key), count(*) FILTER (log_status = 'OK') FROM flows_{name}")
            self.read_with_pyarrow(name)

    def file(self, name, kind):
        """The newest file of a kind that was published for an hour."""
        start = self.hours[name][1]
        return max(self.store.glob(f"v1/digests/*/start={start:%Y%m%dT%H%MZ}/*/*.{kind}.parquet"))

    def read_with_pyarrow(self, name):
        try:
            import pyarrow.parquet
        except ImportError:
            return
        rows = pyarrow.parquet.read_table(self.file(name, "edges")).num_rows
        self.equal(f"digest {name}, rows that pyarrow reads", f"SELECT {rows}", f"SELECT count(*) FROM edges_{name}")

    def edges(self):
        self.flowdiff("edges", "edges", self.window("before"), output="parquet")
        columns = ", ".join(KEY + SUMS)
        self.equal("edges", f"SELECT {columns} FROM flowdiff_edges", f"SELECT {columns} FROM edges_before")

    def folded(self, name, grain):
        """The edges of an hour at a grain, with whether an interface that reported a row is in `seen`."""
        seen = "interfaces_before" if name == "after" else "whole_after"
        ranked = f"""SELECT e.*, s.account_id IS NOT NULL AS known, row_number() OVER (
                         PARTITION BY {', '.join('e.' + column for column in KEY[2:])}
                         ORDER BY e.bytes DESC, e.packets DESC, e.flows DESC, e.account_id, e.interface_id) AS place
                     FROM edges_{name} e LEFT JOIN {seen} s USING (account_id, interface_id)"""
        one = "place = 1" if grain in ("link", "host") else "true"
        sums = ", ".join(f"sum({column}) FILTER ({one})::BIGINT AS {column}" for column in SUMS)
        return f"SELECT {', '.join(GRAINS[grain])}, {sums}, bool_or(known) AS known FROM ({ranked}) GROUP BY ALL"

    def diffs(self):
        self.duck.execute("CREATE OR REPLACE TABLE whole_after AS FROM interfaces_after WHERE skipdata = 0")
        for grain, key in GRAINS.items():
            name = f"diff_{grain}"
            self.flowdiff(name, "diff", self.window("before"), self.window("after"), "--by", grain, output="parquet")
            keys = ", ".join(f"coalesce(a.{column}, b.{column}) AS {column}" for column in key)
            sums = ", ".join(f"coalesce(a.{column}, b.{column}) AS {column}" for column in SUMS)
            before = ", ".join(f"b.{column} AS {column}_before" for column in SUMS)
            theirs = f"""
                SELECT CASE WHEN b.flows IS NULL THEN 'added' WHEN a.flows IS NULL THEN 'removed' ELSE 'changed' END
                           AS change,
                       CASE WHEN b.flows IS NULL THEN CASE WHEN a.known THEN 'new' ELSE 'unobserved_before' END
                            WHEN a.flows IS NULL THEN CASE WHEN b.known THEN 'gone' ELSE 'unobserved_after' END
                            ELSE 'volume' END AS evidence,
                       {keys}, {sums}, {before}
                FROM ({self.folded('before', grain)}) b FULL JOIN ({self.folded('after', grain)}) a
                     ON {' AND '.join(f'a.{column} = b.{column}' for column in key)}
                WHERE a.flows IS NULL OR b.flows IS NULL
                   OR (abs(a.bytes - b.bytes) >= {FLOOR}
                       AND greatest(a.bytes, b.bytes) >= {RATIO} * least(a.bytes, b.bytes))"""
            columns = ", ".join(["change", "evidence", *key, *SUMS, *(f"{column}_before" for column in SUMS)])
            self.equal(f"diff by {grain}", f"SELECT {columns} FROM flowdiff_{name}", theirs)

    def graph(self):
        path = self.flowdiff("graph", "graph", self.window("before"), output="dot")
        attributes = ["accountID", "eniID", "srcPort", "dstPort", "protocol", "packets", "bytes", "start", "end"]
        pattern = '^"(.+)" -> "(.+)" \\[' + " ".join(f'govpc_{name}="(.+?)"' for name in attributes) + " color=(.+?) "
        names = ["srcaddr", "dstaddr", *(name.lower() for name in attributes), "color"]
        self.duck.execute(f"""
            CREATE OR REPLACE TABLE flowdiff_graph AS
            SELECT unnest(regexp_extract(line, '{pattern}', {names}))
            FROM read_csv('{path}', header=false, delim='\\x01', quote='', escape='', columns={{'line': 'VARCHAR'}},
                          auto_detect=false)
            WHERE line LIKE '% -> %'""")
        columns = "srcaddr, dstaddr, srcport, dstport, protocol, packets, bytes"
        self.equal("graph", f"""
            SELECT accountid, eniid, {columns}, start, "end", color FROM flowdiff_graph""", f"""
            SELECT account_id, interface_id, {', '.join(f'{column}::VARCHAR' for column in columns.split(', '))},
                   first_seen::VARCHAR, last_seen::VARCHAR, CASE action WHEN 'REJECT' THEN 'red' ELSE 'green' END
            FROM edges_before""")

    def sql(self):
        query = """SELECT dstport, action, count(*) AS flows, sum(bytes) AS bytes, count(DISTINCT srcaddr) AS sources
                   FROM {} WHERE dstport < 1024 AND log_status = 'OK' GROUP BY dstport, action"""
        self.flowdiff("sql", "sql", query.format("flows"), output="parquet")
        self.equal("sql", "FROM flowdiff_sql", query.format("flows_before"))

    def windows(self):
        self.flowdiff("windows", "windows", "--from", "2000-01-01", output="parquet")
        columns = "epoch(window_start)::BIGINT, edges, flows, bytes, objects_read, skipdata, interfaces"
        theirs = " UNION ALL ".join(f"""
            SELECT {int(start.timestamp())}, count(*), sum(flows), sum(bytes),
                   (SELECT count(DISTINCT object_key) FROM flows_{name}),
                   (SELECT sum(skipdata) FROM interfaces_{name}), (SELECT count(*) FROM interfaces_{name})
            FROM edges_{name}""" for name, (_, start) in self.hours.items())
        self.equal("windows", f"SELECT {columns} FROM flowdiff_windows", theirs)

    def explain(self):
        edge = self.duck.execute(
            "SELECT srcaddr, dstaddr FROM edges_before ORDER BY flows DESC, srcaddr, dstaddr LIMIT 1").fetchone()
        self.flowdiff("explain", "explain", self.window("before"), "--srcaddr", edge[0], "--dstaddr", edge[1],
                      "--limit", "1000000", output="parquet")
        columns = "interface_id, srcport, dstport, protocol, packets, bytes, action"
        self.equal("explain", f'SELECT {columns}, epoch("end")::BIGINT FROM flowdiff_explain', f"""
            SELECT {columns}, "end" FROM flows_before
            WHERE srcaddr = '{edge[0]}' AND dstaddr = '{edge[1]}' AND log_status = 'OK'""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("flowdiff", "before", "after", "work"):
        parser.add_argument(name)
    parser.add_argument("--start", default="2018-10-25T12:00Z", help="begin of the first hour")
    comparison = Comparison(parser.parse_args())
    for step in ("load", "digests", "edges", "diffs", "graph", "sql", "windows", "explain"):
        getattr(comparison, step)()
    sys.exit(1 if comparison.differences else 0)


if __name__ == "__main__":
    main()
