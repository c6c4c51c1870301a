#!/usr/bin/env bash
# Garage, a real S3 server which checks signatures and ignores put-if-absent, for tests.
#   garage.sh build   builds it from the crate registry into the cache, once: about 10 minutes on two cores. What an
#                     interrupted build has compiled is kept, and the next one goes on from there.
#   garage.sh         starts it on free ports for as long as stdin is open, and prints
#                     `ready S3_URL REGION ACCESS_KEY SECRET_KEY BUCKET -`.
set -euo pipefail
version=2.5.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/flowdiff"
root="$cache/garage-$version"
binary="$root/bin/garage"

if [ "${1:-}" = build ]; then
    mkdir -p "$cache"
    exec 9>"$cache/garage.lock"
    flock 9
    [ ! -x "$binary" ] || exit 0
    echo "building garage $version into $root (once)" >&2
    # Compiled fast rather than fast compiled; no part that the tests do not use.
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    export CARGO_PROFILE_RELEASE_DEBUG=false CARGO_TARGET_DIR="$root/target"
    cargo install garage --version "$version" --locked --root "$root" --no-default-features --features bundled-libs,sqlite
    rm -rf "$root/target"
    exit 0
fi

if [ ! -x "$binary" ]; then
    echo "garage $version is not built; to build it, once, about 10 minutes on two cores: tests/servers/garage.sh build" >&2
    exit 1
fi
folder="$(mktemp -d)"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$folder"' EXIT
region=garage-1
export GARAGE_DEFAULT_ACCESS_KEY=GK000000000000000000000001
export GARAGE_DEFAULT_SECRET_KEY=0000000000000000000000000000000000000000000000000000000000000001
export GARAGE_DEFAULT_BUCKET=flowdiff

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Ports below those that the system gives to clients; others may take them first, so more than one try.
for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 6000 * 2))
    if listens "$port" || listens $((port + 1)); then continue; fi
    rm -rf "${folder:?}"/*
    cat >"$folder/garage.toml" <<TOML
metadata_dir = "$folder/meta"
data_dir = "$folder/data"
db_engine = "sqlite"
metadata_fsync = false
data_fsync = false
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$((port + 1))"
rpc_public_addr = "127.0.0.1:$((port + 1))"
rpc_secret = "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')"
[s3_api]
s3_region = "$region"
api_bind_addr = "127.0.0.1:$port"
root_domain = ".s3.localhost"
TOML
    "$binary" -c "$folder/garage.toml" server --single-node --default-access-key --default-bucket \
        </dev/null >"$folder/log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        kill -0 "$server" 2>/dev/null || break
        if listens "$port"; then
            keys="$GARAGE_DEFAULT_ACCESS_KEY $GARAGE_DEFAULT_SECRET_KEY"
            echo "ready http://127.0.0.1:$port $region $keys $GARAGE_DEFAULT_BUCKET -"
            cat >/dev/null
            exit 0
        fi
        sleep 0.1
    done
    kill "$server" 2>/dev/null || true
done
echo "garage does not start:" >&2
cat "$folder/log" >&2
exit 1
