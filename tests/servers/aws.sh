#!/usr/bin/env bash
# Starts an emulator of AWS (moto: S3, STS, SQS) and of the metadata services on free ports, for as long as stdin is open.
# Prints `ready AWS_URL REGION ACCESS_KEY SECRET_KEY - METADATA_URL`. Installs moto once, outside the clone; says why on
# stderr if it cannot.
set -euo pipefail
version=5.2.5
here="$(cd "$(dirname "$0")" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/flowdiff"
venv="$cache/moto-$version"
mkdir -p "$cache"
(
    flock 9
    if [ ! -e "$venv/complete" ]; then
        echo "installing moto $version into $venv (once)" >&2
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "moto[server,s3,sts,iam,sqs]==$version" >&2
        touch "$venv/complete"
    fi
) 9>"$cache/moto.lock"
exec "$venv/bin/python" "$here/aws.py"
