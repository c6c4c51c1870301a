#!/usr/bin/env python3
"""Measures flowdiff beside other programs, in turn, as whole processes: wall and CPU seconds and peak memory.

    peers.py FLOWDIFF BEFORE AFTER WORK [--tasks digest count diff] [--threads 1 4] [--rounds 3] [--peers duckdb ...]

FLOWDIFF is the binary; BEFORE and AFTER are folders with the objects of an hour and of the next one, all of one format;
WORK is a folder for the results. Tasks: `digest` writes the edges of BEFORE, `count` counts its records, `diff`
compares the two digests by edge, from the same Parquet files (with --store, the two digests of that store). Peers are
the Python packages that are installed; all run one SQL text, and everybody keeps the lower port (--port-rule lower), so
all have to give as many rows: a line says so where they do not. flowdiff does more: it checks every line, sorts, counts
coverage, publishes, and judges evidence. Prints medians, and the medians over the rounds of flowdiff's share of each
peer's seconds. Needs duckdb (PyPI).
"""
import argparse
import collections
import datetime
import gzip
import importlib.util
import itertools
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import compare

TASKS = {
    "digest": """
        SELECT account_id, interface_id, srcaddr, dstaddr,
               CASE WHEN srcport < dstport THEN srcport ELSE 0 END AS kept_srcport,
               CASE WHEN srcport < dstport THEN 0 ELSE dstport END AS kept_dstport, protocol, action,
               count(*) AS flows, sum(packets) AS packets_sum, sum(bytes) AS bytes_sum,
               min("start") AS first_seen, max("end") AS last_seen
        FROM {flows} WHERE log_status = 'OK' AND {within}
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8""",
    "count": "SELECT count(*) AS records FROM {flows}",
    "diff": f"""
        SELECT CASE WHEN b.flows IS NULL THEN 'added' WHEN a.flows IS NULL THEN 'removed' ELSE 'changed' END AS change,
               {', '.join(f'coalesce(a.{name}, b.{name}) AS edge_{name}' for name in compare.KEY)},
               {', '.join(f'a.{name} AS {name}_after, b.{name} AS {name}_before' for name in compare.COUNTERS)}
        FROM {{before}} AS b FULL JOIN {{after}} AS a
          ON {' AND '.join(f'a.{name} = b.{name}' for name in compare.KEY)}
        WHERE a.flows IS NULL OR b.flows IS NULL
           OR (abs(a.bytes - b.bytes) >= {compare.MIN_BYTES}
               AND greatest(a.bytes, b.bytes) >= {compare.RATIO} * least(a.bytes, b.bytes))""",
}

EDGES = ["before", "after"]


class Work:
    """What a peer is to do: a task on objects of fields, or on two edge files, into one Parquet file."""

    def __init__(self, task, threads, result, hour, pair):
        self.task, self.threads, self.result, self.pair = task, threads, result, pair
        self.paths = [str(path) for path in hour.paths]
        [self.fields] = hour.formats() if task != "diff" else [()]
        self.hour = hour

    def sql(self, flows, pair):
        before, after = pair or ("", "")
        return TASKS[self.task].format(flows=flows, within=self.hour.within, before=before, after=after)

    def types(self, text, number):
        return {field: number if field in compare.NUMBERS else text for field in self.fields}


def run_duckdb(work):
    import duckdb

    connection = duckdb.connect(config={"threads": work.threads})
    connection.execute("SET preserve_insertion_order = false")
    flows = (f"read_csv({work.paths}, delim=' ', header=true, auto_detect=false, nullstr='-', quote='', escape='', "
             f"columns={work.types('VARCHAR', 'BIGINT')})")
    sql = work.sql(flows, [f"read_parquet('{path}')" for path in work.pair])
    connection.execute(f"COPY ({sql}) TO '{work.result}' (FORMAT parquet, COMPRESSION zstd)")


def run_chdb(work):
    import chdb

    folder = os.path.commonpath(work.paths)
    types = work.types("Nullable(String)", "Nullable(Int64)")
    structure = ", ".join(f"{field} {kind}" for field, kind in types.items())
    flows = f"file('{folder}/**/*.log.gz', 'CustomSeparatedWithNames', '{structure}')"
    sql = work.sql(flows, [f"file('{path}', 'Parquet')" for path in work.pair])
    chdb.query(f"""
        {sql} INTO OUTFILE '{work.result}' FORMAT Parquet
        SETTINGS max_threads = {work.threads}, join_use_nulls = 1, format_custom_field_delimiter = ' ',
                 format_custom_escaping_rule = 'CSV', format_csv_delimiter = ' ', format_csv_null_representation = '-',
                 input_format_with_names_use_header = 0, input_format_parallel_parsing = {int(work.threads > 1)},
                 output_format_parquet_compression_method = 'zstd'""")


def run_polars(work):
    import polars

    if work.task == "diff":
        frames = dict(zip(EDGES, map(polars.scan_parquet, work.pair)))
    else:
        schema = work.types(polars.String, polars.Int64)
        frames = {"flows": polars.scan_csv(work.paths, separator=" ", has_header=False, skip_rows=1, schema=schema,
                                           null_values="-", quote_char=None)}
    plan = polars.SQLContext(frames).execute(work.sql("flows", EDGES))
    plan.sink_parquet(work.result, compression="zstd", engine="streaming")


def run_datafusion(work):
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(work.threads)
    config = config.set("datafusion.execution.listing_table_ignore_subdirectory", "false")
    context = datafusion.SessionContext(config.set("datafusion.execution.parquet.compression", "zstd(1)"))
    if work.task == "diff":
        for name, path in zip(EDGES, work.pair):
            context.sql(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{path}'")
    else:
        # Its CSV reader does not know a null but the empty field, so numbers are cast.
        declared = ", ".join(f'"{field}" VARCHAR' for field in work.fields)
        columns = ", ".join(f"CAST(nullif(\"{field}\", '-') AS {kind}) AS \"{field}\""
                            for field, kind in work.types("VARCHAR", "BIGINT").items())
        context.sql(f"CREATE EXTERNAL TABLE texts ({declared}) STORED AS CSV LOCATION "
                    f"'{os.path.commonpath(work.paths)}/' OPTIONS ('format.delimiter' ' ', 'format.has_header' 'true', "
                    "'format.compression' 'gzip')")
        context.sql(f"CREATE VIEW flows AS SELECT {columns} FROM texts")
    sql = work.sql("flows", EDGES)
    context.sql(f"COPY ({sql}) TO '{work.result}' STORED AS PARQUET").collect()


def run_flowlogs_reader(work):
    """Plain Python, on one thread whatever is asked for; Polars only writes the result."""
    import flowlogs_reader
    import polars

    start, stop = (time.replace(tzinfo=None) for time in (work.hour.start, work.hour.stop))
    edges = {}
    for path in work.paths:
        with gzip.open(path, "rt") as lines:
            next(lines)
            for line in lines:
                fields = zip(work.fields, line.split())
                flow = flowlogs_reader.FlowRecord({field: value for field, value in fields if value != "-"})
                if flow.log_status != "OK" or not start <= flow.end < stop:
                    continue
                ports = (flow.srcport, 0) if flow.srcport < flow.dstport else (0, flow.dstport)
                key = flow.account_id, flow.interface_id, flow.srcaddr, flow.dstaddr, *ports, flow.protocol, flow.action
                edge = edges.setdefault(key, [0, 0, 0, flow.start, flow.end])
                edge[:3] = edge[0] + 1, edge[1] + flow.packets, edge[2] + flow.bytes
                edge[3:] = min(edge[3], flow.start), max(edge[4], flow.end)
    rows = [(*key, *edge) for key, edge in edges.items()]
    polars.DataFrame(rows, schema=compare.KEY + compare.MEASURES[:5], orient="row").write_parquet(work.result)


# Package, what runs it, and what it can do. Those that take minutes have to be asked for by name.
PEERS = {
    "duckdb": (run_duckdb, set(TASKS)),
    "chdb": (run_chdb, set(TASKS)),
    "polars": (run_polars, set(TASKS)),
    "datafusion": (run_datafusion, set(TASKS)),
    "flowlogs_reader": (run_flowlogs_reader, {"digest"}),
}
SLOW = {"flowlogs_reader"}


def window(folder):
    """The window of a digest, by its folder `start=20181025T1200Z/stop=20181025T1300Z`."""
    times = (datetime.datetime.strptime(part.split("=")[1], "%Y%m%dT%H%MZ") for part in folder.parts[-2:])
    return "/".join(f"{time:%Y-%m-%dT%H:%MZ}" for time in times)


class Measured:
    """What one process took, from its start to its end."""

    def __init__(self, command, threads):
        environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "TOKIO_WORKER_THREADS": str(threads)}
        with tempfile.TemporaryFile("w+") as told:
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=told, stderr=told, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            self.wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                told.seek(0)
                sys.exit(f"{shlex.join(command)}: exit code {process.returncode}\n{told.read()}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss / 1024


class Measurement:
    """Runs every task by every program in turn, and keeps what each run took and how many rows it gave."""

    def __init__(self, arguments):
        self.arguments, self.hour = arguments, arguments.hours[0]
        self.work = pathlib.Path(arguments.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.runs = collections.defaultdict(list)
        self.rows = {}
        self.store = pathlib.Path(arguments.store or self.work / "pair")
        self.pair = self.digests() if "diff" in arguments.tasks else []

    def digests(self):
        """The folders of the two digests to compare: those of --store, else made now from the logs."""
        for hour in () if self.arguments.store else self.arguments.hours:
            Measured(self.flowdiff("digest", hour.window, "--source", str(hour.folder), "--store", str(self.store),
                                   "--port-rule", "lower"), 1)
        return sorted(self.store.glob("v1/digests/*/*/*"))[:2]

    def flowdiff(self, *command):
        return [self.arguments.flowdiff, *command, *shlex.split(self.arguments.options)]

    def run(self, program, task, threads):
        result = self.work / f"{task}-{program}.parquet"
        result.unlink(missing_ok=True)
        store = self.work / "digest"
        shutil.rmtree(store, ignore_errors=True)
        source = ["--source", str(self.hour.folder), "--threads", str(threads)]
        output = ["--format", "parquet", "--output", str(result)]
        if program != "flowdiff":
            edges = [str(compare.published(folder)["edges"]) for folder in self.pair]
            command = [sys.executable, *sys.argv, "--run", program, task, str(threads), str(result), *edges]
        elif task == "digest":
            command = self.flowdiff("digest", self.hour.window, "--store", str(store), "--port-rule", "lower", *source)
        elif task == "count":
            command = self.flowdiff("sql", "SELECT count(*) AS records FROM flows", *source, *output)
        else:
            windows = map(window, self.pair)
            command = self.flowdiff("diff", *windows, "--no-build", "--store", str(self.store), *source, *output)
        measured = Measured(command, threads)
        self.runs[task, threads, program].append(measured)
        print(f"{task} {threads} {program}: {measured.wall:.2f} s, CPU {measured.cpu:.2f} s, {measured.peak:.0f} MiB",
              file=sys.stderr, flush=True)
        if program == "flowdiff" and task == "digest":
            [folder] = store.glob("v1/digests/*/*/*")
            result = compare.published(folder)["edges"]
        self.rows[task, threads, program] = self.rows_of(result, task)

    def rows_of(self, result, task):
        import duckdb

        what = "records" if task == "count" else "count(*)"
        [(rows,)] = duckdb.execute(f"SELECT {what} FROM read_parquet('{result}')").fetchall()
        return rows

    def report(self):
        print("| task | threads | program | wall s | CPU s | peak MiB | flowdiff's share of wall | of CPU | rows |")
        print("|---|---|---|---|---|---|---|---|---|")
        for (task, threads, program), runs in self.runs.items():
            pairs = list(zip(self.runs[task, threads, "flowdiff"], runs))
            rows, expected = self.rows[task, threads, program], self.rows[task, threads, "flowdiff"]
            cells = [task, threads, program,
                     *(f"{statistics.median(getattr(run, what) for run in runs):{form}}"
                       for what, form in (("wall", ".2f"), ("cpu", ".2f"), ("peak", ".0f"))),
                     *(f"{statistics.median(getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs):.2f}"
                       for what in ("wall", "cpu")),
                     f"{rows}{'' if rows == expected else ' DIFFERENT'}"]
            print(f"| {' | '.join(map(str, cells))} |")


def main():
    installed = [name for name in PEERS if importlib.util.find_spec(name)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowdiff", help="the binary")
    parser.add_argument("before", help="folder with the objects of an hour")
    parser.add_argument("after", help="folder with those of the hour after it")
    parser.add_argument("work", help="folder for the results")
    parser.add_argument("--start", default="2018-10-25T12:00Z", help="begin of the first hour (default %(default)s)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=3)
    quick = [name for name in installed if name not in SLOW]
    parser.add_argument("--peers", nargs="+", choices=installed, default=quick)
    parser.add_argument("--store", help="folder with two digests to compare")
    parser.add_argument("--options", default="", help="options for every flowdiff command, in one word")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.hours = compare.hours(arguments)
    if arguments.run:
        program, task, threads, result, *pair = arguments.run
        PEERS[program][0](Work(task, int(threads), result, arguments.hours[0], pair))
        return
    measurement = Measurement(arguments)
    for turn in range(arguments.rounds):
        for task, threads in itertools.product(arguments.tasks, arguments.threads):
            programs = ["flowdiff", *(name for name in arguments.peers if task in PEERS[name][1])]
            first = turn % len(programs)  # who runs first changes with the round
            for program in programs[first:] + programs[:first]:
                measurement.run(program, task, threads)
    measurement.report()


if __name__ == "__main__":
    main()
