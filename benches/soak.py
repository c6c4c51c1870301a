#!/usr/bin/env python3
"""Follows objects that are written at a steady rate, and measures delay, memory and requests.

    soak.py FLOWDIFF WORK [--before 120] [--minutes 30] [--rate 2000] [--records 20] [--width 10m] [--every 30s]
            [--metrics ADDRESS] [--bucket BUCKET --endpoint-url URL --region REGION]

FLOWDIFF is the binary; WORK a folder, emptied first. Writes RATE gzip objects a minute of RECORDS records each for ten
flow logs into WORK/logs, or into the BUCKET of an S3 server with keys from the environment (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY), stamped with the last five minutes' mark: first those of the minutes BEFORE, so that as many windows
close as begin from the start on, and listings are as long as they will ever be; then, once `flowdiff follow` has taken
these up, one after the other while it runs. The delay of an object is the time from its creation to that of the first
manifest whose object file has it. After the last object the follower gets a few rounds to finish. Needs pyarrow (PyPI); on
Linux.
"""
import argparse
import collections
import datetime
import gzip
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import time
import urllib.error
import urllib.request

import pyarrow.fs
import pyarrow.parquet

HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
FLOW_LOGS = 10
PORTS = (443, 53, 5432, 22)


class Folder:
    """Objects in a folder, where each appears as a whole."""

    def __init__(self, root):
        self.root, self.part, self.source = root, root.parent / "part", ["--source", root]

    def put(self, key, data):
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        self.part.write_bytes(data)
        self.part.rename(self.root / key)


class Bucket:
    """Objects in a bucket of an S3 server."""

    def __init__(self, bucket, endpoint_url, region):
        scheme, host = endpoint_url.split("://")
        self.files = pyarrow.fs.S3FileSystem(
            scheme=scheme, endpoint_override=host, region=region, allow_delayed_open=True, background_writes=False
        )
        self.bucket = bucket
        self.source = ["--source", f"s3://{bucket}", "--endpoint-url", endpoint_url, "--region", region]

    def put(self, key, data):
        # The name would have it compressed again.
        with self.files.open_output_stream(f"{self.bucket}/{key}", compression=None) as stream:
            stream.write(data)


def write(logs, number, records, at):
    """Puts the object that would have come at the Unix time `at`; returns its key."""
    now = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    mark = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
    end, flow_log, pick = int(now.timestamp()) - 1, number % FLOW_LOGS, random.randrange
    lines = [
        f"2 123456789012 eni-{flow_log}{pick(20)} 10.{flow_log}.{pick(8)}.{pick(250)} 10.9.{pick(4)}.{pick(50)} "
        f"{pick(32768, 60999)} {random.choice(PORTS)} 6 {pick(1, 99)} {pick(60, 99999)} {end - 30} {end} ACCEPT OK"
        for _ in range(records)
    ]
    folder = f"AWSLogs/123456789012/vpcflowlogs/us-east-1/{mark:%Y/%m/%d}"
    key = f"{folder}/123456789012_vpcflowlogs_us-east-1_fl-{flow_log:017x}_{mark:%Y%m%dT%H%MZ}_{number:08x}.log.gz"
    logs.put(key, gzip.compress("\n".join([HEADER, *lines, ""]).encode(), 1))
    return key


def resident(pid):
    """Resident memory in MB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def metrics(address):
    """The follower's own figures; none before it listens."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except urllib.error.URLError:
        return {}
    lines = [line.split() for line in text.splitlines() if line.startswith("flowdiff_follow_")]
    return {line[0].removeprefix("flowdiff_follow_"): float(line[1]) for line in lines if len(line) == 2}


class Versions:
    """The published versions, as they appear, and the delays of the objects that are known by the time of their creation."""

    def __init__(self, store):
        self.store, self.created, self.known, self.delays, self.newest = store, {}, set(), {}, {}

    def look(self):
        for manifest in self.store.glob("v1/digests/*/*/*/_*.json"):
            if manifest in self.known:
                continue
            self.known.add(manifest)
            published, version = manifest.stat().st_mtime, manifest.stem.removeprefix("_")
            self.newest[manifest.parent] = max(self.newest.get(manifest.parent, ""), version)
            for file in manifest.parent.glob(f"{version}-*.objects.parquet"):
                for key in pyarrow.parquet.read_table(file, columns=["object_key"]).column(0).to_pylist():
                    if key in self.created and key not in self.delays:
                        self.delays[key] = published - self.created[key]

    def records(self):
        """Flows in the newest versions of all windows."""
        return sum(
            json.loads((folder / f"_{version}.json").read_text())["totals"]["flows"]
            for folder, version in self.newest.items()
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flowdiff", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--before", type=float, default=120, help="minutes before the start that have objects, too")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=2000, help="objects a minute")
    parser.add_argument("--records", type=int, default=20, help="records of an object")
    parser.add_argument("--width", default="10m")
    parser.add_argument("--every", default="30s", help="follow.publish_every")
    parser.add_argument("--metrics", default="127.0.0.1:9191", help="where the follower listens")
    parser.add_argument("--bucket", help="where the objects are put; without it, a folder")
    parser.add_argument("--endpoint-url", default="https://s3.amazonaws.com")
    parser.add_argument("--region", default="us-east-1")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    (args.work / "logs").mkdir(parents=True)
    store = args.work / "store"
    logs = Bucket(args.bucket, args.endpoint_url, args.region) if args.bucket else Folder(args.work / "logs")
    number, start = int(args.before * args.rate), time.time() - args.before * 60
    for index in range(number):
        write(logs, index, args.records, start + index * 60 / args.rate)
    command = [args.flowdiff.resolve(), *logs.source, "--store", store, "follow"]
    command += ["--width", args.width, "--metrics", args.metrics]
    with open(args.work / "follow.log", "wb") as log:
        follower = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"FLOWDIFF__FOLLOW__PUBLISH_EVERY": args.every}
        )
        try:
            measure(args, follower, logs, Versions(store), number)
        finally:
            follower.send_signal(signal.SIGTERM)
            follower.wait(60)


def measure(args, follower, logs, versions, before):
    while (caught_up := metrics(args.metrics)).get("rounds_total", 0) < 1:
        time.sleep(1)
    memory, began, number = collections.defaultdict(list), time.time(), before
    looked = sampled = began
    while (now := time.time()) < began + args.minutes * 60:
        while number - before < (now - began) * args.rate / 60:
            key = write(logs, number, args.records, now)
            versions.created[key] = time.time()
            number += 1
        if now >= sampled + 1:
            sampled = now
            memory[int((now - began) // 300)].append(resident(follower.pid))
        if now >= looked + 5:
            looked = now
            versions.look()
        time.sleep(0.005)
    written = number * args.records
    finish = time.time() + 300
    while time.time() < finish and (len(versions.delays) < number - before or versions.records() < written):
        time.sleep(2)
        versions.look()
    figures, delays = metrics(args.metrics), sorted(versions.delays.values())
    print(f"{number} objects of {args.records} records written, {before} of them before the start")
    print(f"in the newest versions: {versions.records()} of {written} records")
    if delays:
        share = lambda part: delays[min(len(delays) - 1, int(len(delays) * part))]
        print(
            f"delay of {len(delays)} objects: median {statistics.median(delays):.1f} s, 99 % {share(0.99):.1f} s, "
            f"longest {delays[-1]:.1f} s"
        )
    for slot, values in sorted(memory.items()):
        print(
            f"minutes {slot * 5}-{slot * 5 + 5}: resident {min(values):.0f} to {max(values):.0f} MB, "
            f"median {statistics.median(values):.0f}"
        )
    print(f"{len(versions.known)} versions of {len(versions.newest)} windows")
    for name, value in sorted(figures.items()):
        value -= caught_up[name] if name.endswith("_total") else 0
        print(f"{name} {value:g}")


if __name__ == "__main__":
    main()
