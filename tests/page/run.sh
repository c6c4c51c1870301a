#!/usr/bin/env bash
# Drives the page of the real binary in a real headless Chromium: tests/page/run.sh [SCREENSHOTS_DIR]
# Chromium and its driver are Debian's packages, installed where this may be done; Selenium is kept in the cache, outside
# the clone. Ends with 77, and says so, where there is no Chromium.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
selenium=4.51.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/flowdiff"
venv="$cache/selenium-$selenium"
skip() {
    echo "SKIPPED: the page was not tested in a browser: $1" >&2
    exit 77
}

if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } ||
        skip "install the packages chromium and chromium-driver"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver; } >/dev/null || skip "chromium and chromium-driver could not be installed"
fi
mkdir -p "$cache"
(
    flock 9
    if [ ! -e "$venv/complete" ]; then
        echo "installing selenium $selenium into $venv (once)" >&2
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "selenium==$selenium" >&2 &&
            touch "$venv/complete"
    fi
) 9>"$cache/selenium.lock" || skip "selenium could not be installed"

binary="${CARGO_TARGET_DIR:-$here/../../target}/debug/flowdiff"
[ -x "$binary" ] || cargo build --manifest-path "$here/../../Cargo.toml"
exec "$venv/bin/python" "$here/page.py" "$binary" "$@"
