"""What a person sees and does, in a real browser on the real binary. Arguments: the binary, a folder for screenshots."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from faults import HANG_UP, Proxy, ndjson, problem
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --hide-scrollbars --disable-dev-shm-usage""".split()
BEFORE = "2026-11-20T12:00Z/2026-11-20T13:00Z"
AFTER = "2026-11-20T13:00Z/2026-11-20T14:00Z"
HOSTILE = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"


def serve(binary, store, source):
    """Starts the service on a free port; gives the process and its port."""
    arguments = [binary, "serve", "--listen", "127.0.0.1:0", "--store", store, *source]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
        if found:
            # What it says later must not fill the pipe.
            subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
            return process, int(found[1])
    raise RuntimeError("the service did not start")


class Page:
    """A browser at a page, and how to look at it."""

    def __init__(self, screenshots):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in FLAGS:
            options.add_argument(flag)
        self.downloads = tempfile.mkdtemp()
        options.add_experimental_option("prefs", {"download.default_directory": self.downloads})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        self.screenshots = screenshots
        self.hurried = None
        # What one test was answered must not answer the next one.
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, url):
        # Another fragment alone would not load the page anew.
        self.driver.get("about:blank")
        self.driver.get(url)

    def hurry(self):
        """Until the test is over, what pages do every so many seconds they do a hundred times as often."""
        source = "const own = setTimeout; window.setTimeout = (f, ms, ...a) => own(f, ms >= 10000 ? ms / 100 : ms, ...a);"
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        self.hurried = added["identifier"]

    def at_ease(self):
        if self.hurried:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": self.hurried})
            self.hurried = None

    def ready(self, text=r"\d|No difference"):
        """Waits until the summary of the diff says so."""
        self.wait(lambda: re.search(text, self.text("#summary")) and "Comparing" not in self.text("#summary"))

    def wait(self, condition, seconds=20):
        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: condition())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def type(self, selector, text):
        field = self.find(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text or Keys.DELETE)

    def choose(self, selector, value):
        self.find(f"{selector} option[value='{value}']").click()

    def column(self, number):
        return self.js(
            "return [...document.querySelectorAll('#rows tbody tr')].map(r => r.cells[arguments[0]].textContent)", number)

    def shown(self):
        return len(self.all("#rows tbody tr"))

    def at(self):
        """What the address says after `#`."""
        return self.js("return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")

    def shot(self, name):
        if self.screenshots:
            width, height = self.js("return [innerWidth, Math.min(document.documentElement.scrollHeight, 2600)]")
            self.size(width, height)
            time.sleep(0.3)
            self.driver.save_screenshot(f"{self.screenshots}/{name}.png")
            self.size(width, 900)

    def complaints(self, status=None):
        """What the browser complained of, errors of scripts and breaches of the policy, since it was asked last. An
        answer of `status` that a test wants is no complaint, nor is a service without a worker, which has no jobs."""
        entries = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        expected = ["/v1/jobs - Failed to load resource: the server responded with a status of 404",
                    # The browser itself says it of requests that a test does not let through.
                    "Failed to load resource: net::ERR_EMPTY_RESPONSE"]
        if status:
            expected.append(f"responded with a status of {status}")
        return [entry for entry in entries if not any(text in entry for text in expected)]


def get(url):
    with urllib.request.urlopen(url) as response:
        return response.headers, response.read()


# --- what must hold; each function is one test, its name says what ----------------------------------------------------


def opens_with_the_newest_two_adjacent_windows(page, proxy):
    page.open(proxy.url)
    page.ready()
    rows = json.loads(get(f"{proxy.url}/v1/diffs?before={BEFORE}&after={AFTER}&by=link")[1])
    changes = [sum(row["change"] == name for row in rows) for name in ("added", "removed", "changed")]
    assert page.text("#summary").startswith("{} added, {} removed, {} changed".format(*changes)), page.text("#summary")
    assert page.shown() == len(rows) > 0
    assert [page.js(f"return document.querySelector('#{side}').value") for side in ("before", "after")] == [BEFORE, AFTER]
    assert "SKIPDATA" in page.text("#before-coverage") and "coverage is whole" in page.text("#after-coverage")
    assert len(page.all("#timeline .window")) == 2
    assert "1 SKIPDATA" in page.find("#timeline .window.before").get_attribute("aria-label")
    page.shot("light")


def sorts_by_mouse_and_by_keyboard_and_keeps_the_focus(page, proxy):
    page.open(proxy.url)
    page.ready()
    page.find("[data-sort=dstaddr]").click()
    destinations = page.column(4)
    assert destinations == sorted(destinations), destinations
    page.keys(Keys.ENTER)
    assert page.column(4) == sorted(destinations, reverse=True)
    assert page.find("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert page.at()["sort"] == "-dstaddr"


def searches_and_filters_and_a_link_shows_the_same(page, proxy):
    page.open(proxy.url)
    page.ready()
    everything = page.shown()
    page.type("#q", "198.51.100.0/24 4444")
    page.wait(lambda: "q" in page.at())
    found = page.shown()
    assert 0 < found < everything and f"showing {found} rows, of {everything} rows in all" == page.text("#shown")
    page.open(page.driver.current_url)
    page.ready()
    assert page.shown() == found and page.find("#q").get_attribute("value") == "198.51.100.0/24 4444"
    page.type("#q", "src:198.51.100.77")
    page.wait(lambda: set(page.column(2)) == {"198.51.100.77"})
    page.type("#q", "")
    page.wait(lambda: page.shown() == everything)
    page.find("#change input[value=added]").click()
    assert not any("added" in text for text in page.column(0)) and page.at()["hide"] == "added"
    page.choose("#evidence", "volume")
    assert set(page.column(1)) == {"volume"}


def compares_by_every_grain_and_goes_back(page, proxy):
    page.open(proxy.url)
    page.ready()
    for grain in ("host", "interface", "edge"):
        page.choose("#by", grain)
        rows = json.loads(get(f"{proxy.url}/v1/diffs?before={BEFORE}&after={AFTER}&by={grain}")[1])
        page.wait(lambda: page.shown() == len(rows))
        page.wait(lambda: f"{len(rows)} row" in page.text("#shown"))
    assert page.at()["by"] == "edge"
    page.driver.back()
    page.wait(lambda: page.js("return document.querySelector('#by').value") == "interface")


def windows_of_an_address_may_be_written_as_the_service_reads_them(page, proxy):
    page.open(f"{proxy.url}/#before=previous&after=2026-11-20T13")
    page.ready()
    assert "SKIPDATA" in page.text("#before-coverage") and "coverage is whole" in page.text("#after-coverage")
    assert [page.js(f"return document.querySelector('#{side}').value") for side in ("before", "after")] == [BEFORE, AFTER]
    links = page.js("return [...document.querySelectorAll('#rows tr.removed a')].map((link) => link.search)")
    assert links and all(f"window={BEFORE}&" in link for link in links), links
    page.open(f"{proxy.url}/#before=2026-11-20T12:00Z/PT1H&after=2026-11-20T13:00Z/PT60M")
    page.ready()
    assert "SKIPDATA" in page.text("#before-coverage") and "coverage is whole" in page.text("#after-coverage")


def thresholds_are_passed_on(page, proxy):
    page.open(f"{proxy.url}/#min_bytes=1000000000000")
    page.ready()
    assert "changed" not in page.text("#summary"), page.text("#summary")


def picks_windows_by_mouse_and_by_keyboard(page, proxy):
    page.open(proxy.url)
    page.ready()
    page.find("#swap").click()
    page.wait(lambda: page.at()["before"] == AFTER)
    page.ready()
    page.find("#timeline [tabindex='0']").send_keys(Keys.HOME)
    page.keys("b")
    page.wait(lambda: page.at()["before"] == BEFORE)
    page.ready("No difference: both windows have the same.")
    page.keys(Keys.ARROW_RIGHT)
    assert "13:00 to 14:00" in page.text("#window-detail")
    page.keys(Keys.ENTER)
    page.wait(lambda: page.at()["after"] == AFTER)
    page.all("#timeline .window")[0].click()
    page.all("#timeline .window")[1].click()
    page.wait(lambda: (page.at()["before"], page.at()["after"]) == (BEFORE, AFTER))


def the_picture_tells_counters_and_evidence_by_keyboard(page, proxy):
    page.open(proxy.url)
    page.ready()
    page.wait(lambda: page.all("#picture canvas"))
    assert "10 hosts as 10 nodes" in page.text("#picture-omitted"), page.text("#picture-omitted")
    page.js("document.querySelector('#picture').focus()")
    page.keys(Keys.ARROW_RIGHT)
    detail = page.text("#picture-detail")
    assert re.search(r"→.*(added|removed|changed).*packets.*flows; evidence: (new|gone|volume)", detail), detail
    page.all("#picture-detail button")[-1].click()
    page.wait(lambda: "q" in page.at())
    assert 0 < page.shown() < 13 and page.driver.switch_to.active_element.get_attribute("id") == "q"


def every_format_is_a_link_that_works(page, proxy):
    page.open(proxy.url)
    page.ready()
    links = page.all("#formats a")
    assert len(links) == 9
    for link in links:
        headers, body = get(link.get_attribute("href"))
        assert body and headers["Content-Type"], link.text


def raw_records_open_beside_the_row(page, proxy):
    page.open(f"{proxy.url}/#q=4444")
    page.ready()
    page.find("#rows tbody a").click()
    page.wait(lambda: page.all("#explain-body tbody tr"))
    assert "vpcflowlogs" in page.text("#explain-body") and "4444" in page.text("#explain-body")
    ends = page.js("""const cell = document.querySelector('#explain-body td.tail');
        return [cell.querySelector('bdi').getBoundingClientRect().right, cell.getBoundingClientRect().right]""")
    assert ends[0] <= ends[1], "the end of a key, which tells objects apart, is cut off"
    page.shot("explain")
    page.keys(Keys.ESCAPE)
    page.wait(lambda: not page.find("#explain-dialog").is_displayed())


def fits_a_telephone_and_reads_in_the_dark(page, proxy):
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        for width in (375, 768, 1280):
            page.size(width, 900)
            for path in ("/", "/docs"):
                page.open(f"{proxy.url}{path}")
                page.wait(lambda: page.all("#rows tbody tr, #operations article"))
                beyond = page.js("return document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, f"{path} at {width}: {beyond} pixels too wide"
                if path == "/":
                    hidden = page.js(OUT_OF_SIGHT)
                    assert not hidden, f"at {width}: {hidden}"
                name = "docs" if path == "/docs" else "page"
                page.shot(f"{name}-{scheme}-{width}")
        low = page.js(CONTRAST)
        assert not low, f"{scheme}: {low}"


OUT_OF_SIGHT = """
const { left, right } = document.querySelector('.table-scroll').getBoundingClientRect();
const found = [];
for (const [name, selector] of [['the change', '.change'], ['the link to the records', 'a']]) {
  const part = document.querySelector(`#rows tbody ${selector}`).getBoundingClientRect();
  if (part.left < left || part.right > right) found.push(`${name} of a row is out of sight`);
}
if (innerWidth > 1000) {
  const tops = [...document.querySelectorAll('#filters > label, #filters > .chips legend')];
  if (new Set(tops.map((label) => Math.round(label.getBoundingClientRect().top))).size > 1)
    found.push('the labels of the filters are not in one line');
}
return found;
"""

CONTRAST = """
const page = getComputedStyle(document.documentElement);
const light = (name) => {
  const parts = page.getPropertyValue(name).trim().slice(1).match(/../g).map((hex) => parseInt(hex, 16) / 255);
  const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
const must = (least, text, ground) => {
  const [a, b] = [light(text), light(ground)].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < least) found.push(`${text} on ${ground}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
};
for (const ground of ['--surface', '--page', '--raised'])
  for (const text of ['--ink', '--muted', '--accent', '--added', '--removed', '--changed']) must(4.5, text, ground);
for (const ground of ['--info', '--error']) for (const text of ['--ink', '--muted', '--accent']) must(4.5, text, ground);
must(4.5, '--on-accent', '--accent');
// Marks of the time line, borders of controls, the focus: WCAG 2.2, 1.4.11.
for (const mark of ['--bar', '--muted', '--accent']) for (const ground of ['--surface', '--raised']) must(3, mark, ground);
return found;
"""


def everything_that_takes_the_focus_has_a_name(page, proxy):
    for path in ("/", "/docs"):
        page.open(f"{proxy.url}{path}")
        page.wait(lambda: page.all("#rows tbody tr, #operations article"))
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in tree:
            value = {item["name"]: item["value"].get("value") for item in node.get("properties", [])}
            role = node.get("role", {}).get("value")
            if value.get("focusable") and not node.get("ignored") and role not in ("RootWebArea", "generic"):
                assert node.get("name", {}).get("value"), f"{path}: a {role} without a name: {node}"
        ids = page.js("return [...document.querySelectorAll('[id]')].map((element) => element.id)")
        assert len(ids) == len(set(ids))
        assert page.js("return document.querySelectorAll('main').length") == 1


def hostile_text_stays_text(page, proxy):
    rows = json.loads(get(f"{proxy.url}/v1/diffs?before={BEFORE}&after={AFTER}&by=edge")[1])
    for row in rows:
        row.update(srcaddr=HOSTILE, interface_id=HOSTILE, evidence=HOSTILE, action=HOSTILE)
    proxy.answer = lambda _, path, __: ndjson(rows) if path.startswith("/v1/diffs") else None
    page.open(f"{proxy.url}/#by=edge")
    page.ready()
    page.js("document.querySelector('#picture').focus()")
    page.wait(lambda: page.all("#picture canvas"))
    page.keys(Keys.ARROW_RIGHT)
    assert HOSTILE in page.text("#rows tbody tr") and HOSTILE in page.text("#picture-detail")
    assert page.js("return [window.hacked ?? null, document.querySelectorAll('main img, main script').length]") == [None, 0]


def a_token_is_asked_for_kept_in_the_tab_and_sent(page, proxy):
    def answer(_, path, headers):
        if path.startswith("/v1/") and headers.get("Authorization") != "Bearer s3cret":
            return problem(401, "this service wants a token")

    proxy.answer = answer
    page.open(proxy.url)
    page.wait(lambda: page.find("#token-dialog").is_displayed())
    assert "wants a token" in page.text("#token-problem")
    page.shot("token")
    page.keys("wrong", Keys.ENTER)
    page.wait(lambda: page.find("#token-dialog").is_displayed() and page.find("#token").get_attribute("value") == "")
    page.keys("s3cret", Keys.ENTER)
    page.ready()
    assert page.js("return [sessionStorage.length, localStorage.length]") == [1, 0]
    page.all("#formats a")[2].click()
    page.wait(lambda: os.path.exists(f"{page.downloads}/diff.csv"))
    assert "s3cret" not in page.driver.current_url and not any("s3cret" in path for _, path, _ in proxy.seen)
    page.find("#token-change").click()
    page.wait(lambda: page.find("#token-dialog").is_displayed())
    page.keys(Keys.ESCAPE)
    page.wait(lambda: "wants a token" in page.text("#windows-notice"))
    assert not page.complaints(401)


def windows_that_are_not_built_are_waited_for(page, proxy):
    job = {"id": "0f0e0d0c-0000-5000-8000-000000000000", "kind": "diff", "windows": [BEFORE, AFTER], "status": "running",
           "attempt": 1, "progress": {"windows": 2, "windows_done": 1, "objects": 10, "objects_read": 0}}

    def answer(_, path, __):
        if path.startswith("/v1/diffs") and job["status"] == "running":
            return 202, {"Location": f"/v1/jobs/{job['id']}", "Retry-After": "1", "Content-Type": "application/json"}, job
        if path == f"/v1/jobs/{job['id']}":
            job["progress"]["objects_read"] += 5
            if job["progress"]["objects_read"] >= 10:
                job["status"] = "done"
            return 200, {"Content-Type": "application/json"}, job

    proxy.answer = answer
    page.open(proxy.url)
    page.wait(lambda: page.all("#notice button"))
    page.js("document.querySelector('#notice button').focus()")
    page.wait(lambda: "1 of 2 windows built, 5 of 10 objects read" in page.text("#notice"))
    assert page.driver.switch_to.active_element.text == "Cancel", "who is at the button stays there"
    page.shot("job")
    page.ready(r"added")
    assert not page.text("#notice") and page.shown() > 0


def a_problem_is_told_with_what_to_do_and_can_be_tried_again(page, proxy):
    proxy.answer = lambda _, path, __: (
        problem(503, "the store does not answer", hint="see flowdiff check", request_id="r-1")
        if path.startswith("/v1/") else None)
    page.open(proxy.url)
    page.wait(lambda: "the store does not answer" in page.text("[role=alert]"))
    assert "see flowdiff check" in page.text("[role=alert]") and "r-1" in page.text("[role=alert]")
    page.shot("problem")
    proxy.answer = None
    page.find("[role=alert] button").click()
    page.ready()
    assert not page.complaints(503)


def a_window_that_is_not_there_names_those_nearby(page, proxy):
    page.open(f"{proxy.url}/#before=2026-11-19T12:00Z/PT1H&after={AFTER}")
    page.wait(lambda: BEFORE in page.text("#notice"))
    page.find("#notice button").click()
    page.ready()
    assert page.at()["before"] == BEFORE and not page.complaints(404)


def coverage_is_marked_by_more_than_colour_and_gaps_can_be_built(page, proxy):
    windows = json.loads(get(f"{proxy.url}/v1/windows")[1])
    at = lambda hour: {"window_start": f"2026-11-20T{hour:02}:00:00Z", "window_stop": f"2026-11-20T{hour + 1:02}:00:00Z"}
    windows += [{**windows[1], **at(16), "state": "provisional", "objects_set_aside": 2, "objects_read": 60},
                {**windows[1], **at(17), "silent_flow_logs": 1, "lines_refused": 3}]
    posted = []

    def answer(method, path, _):
        if path == "/v1/windows":
            return 200, {"Content-Type": "application/json"}, windows
        if path == "/v1/jobs" and method == "POST":
            posted.append(path)
            return 202, {"Content-Type": "application/json"}, {
                "id": str(len(posted)), "windows": [AFTER], "status": "done", "attempt": 1, "progress": {}}

    proxy.answer = answer
    page.open(f"{proxy.url}/#before={BEFORE}&after={AFTER}")
    page.ready()
    labels = [button.get_attribute("aria-label") for button in page.all("#timeline .window")]
    assert len(labels) == 5 and labels[2].startswith("Gap: nothing published from 20 Nov 2026, 14:00 to 16:00"), labels
    assert "provisional: more may come" in labels[3] and "2 objects set aside" in labels[3]
    assert "1 flow log fell silent" in labels[4] and "3 lines refused" in labels[4]
    assert [mark.text for mark in page.all("#timeline .window")[4].find_elements(By.CSS_SELECTOR, ".glyph")] == ["▲", "○"]
    page.shot("coverage")
    page.find("#timeline .gap").click()
    page.find("#window-detail button").click()
    page.wait(lambda: len(posted) == 2)


def a_large_diff_says_what_it_shows_and_what_it_leaves_out(page, proxy):
    chance = random.Random(5)
    template = json.loads(get(f"{proxy.url}/v1/diffs?before={BEFORE}&after={AFTER}&by=link")[1])[0]
    rows = [{**template, "change": chance.choice(["added", "removed"]), "evidence": "new",
             "srcaddr": f"10.{chance.choice([1, 2, 3])}.{chance.randrange(8)}.{chance.randrange(1, 250)}",
             "dstaddr": f"{chance.randrange(11, 200)}.{chance.randrange(256)}.{chance.randrange(256)}.9",
             "bytes": chance.randrange(10**9)} for _ in range(12_000)]
    proxy.answer = lambda _, path, __: ndjson(rows) if path.startswith("/v1/diffs") else None
    page.open(proxy.url)
    page.ready()
    assert page.text("#shown") == "showing the first 200 of 12,000 rows" and page.shown() == 200
    page.find("#more").click()
    assert page.text("#shown") == "showing the first 400 of 12,000 rows" and page.shown() == 400
    said = page.text("#picture-omitted")
    assert "networks are folded" in said and "Left out" in said, said
    page.shot("large")
    page.js("document.querySelector('#picture').focus()")
    page.keys(Keys.ARROW_LEFT)
    for _ in range(80):
        if "Open" in page.text("#picture-detail") and "10." in page.text("#picture-detail h3"):
            break
        page.keys(Keys.ARROW_LEFT)
    network = page.text("#picture-detail h3")
    page.keys(Keys.ENTER)
    page.wait(lambda: page.at().get("open") == network)
    started = time.monotonic()
    page.type("#q", "10.1.0.0/16")
    page.wait(lambda: "of 12,000 rows in all" in page.text("#shown"))
    assert time.monotonic() - started < 3, "a search takes too long"


def the_description_lists_every_operation(page, proxy):
    page.open(f"{proxy.url}/docs")
    page.wait(lambda: page.all("#operations article"))
    paths = json.loads(get(f"{proxy.url}/openapi.json")[1])["paths"]
    operations = sum(len(methods) for methods in paths.values())
    assert len(page.all("#operations article")) == operations
    page.js("""const input = [...document.querySelectorAll('article')].find((a) => a.textContent.includes('/v1/diffs'))
        .querySelector('input'); input.value = 'previous'; input.dispatchEvent(new Event('input'))""")
    links = [link.get_attribute("href") for link in page.all("a.try")]
    assert any(urlsplit(link).query == "before=previous" for link in links), links


class Store:
    """What the service says is published, as a follower changes it; the rest is the service's own."""

    def __init__(self, proxy):
        self.windows, self.tag = json.loads(get(f"{proxy.url}/v1/windows")[1]), 1
        for window in self.windows:
            window.update(state="provisional", lag_seconds=45)
        proxy.answer = self.answer

    def publish(self, place, **values):
        """A new version of the window at a place; at the end of the list, the next hour's first."""
        if place == len(self.windows):
            begin = f"2026-11-20T{12 + place}:00:00Z", f"2026-11-20T{13 + place}:00:00Z"
            self.windows.append({**self.windows[-1], "window_start": begin[0], "window_stop": begin[1], "version": 0})
        self.windows[place] = {**self.windows[place], "version": self.windows[place]["version"] + 1, **values}
        self.tag += 1

    def answer(self, _, path, headers):
        if path.startswith("/v1/windows"):
            tag = f'"{path}-{self.tag}"'
            if headers.get("If-None-Match") == tag:
                return 304, {"ETag": tag}, b""
            return 200, {"Content-Type": "application/json", "ETag": tag}, self.windows


def asked(proxy, path):
    return [seen for _, seen, _ in proxy.seen if seen.startswith(path)]


def follows_what_another_process_publishes(page, alive):
    page.hurry()
    page.open(alive.url)
    page.ready()
    assert "1, final" in page.text("#after-coverage") and len(page.all("#timeline .window")) == 2
    assert re.fullmatch(r"Newest closed window until 20 Nov 14:00, final after .*; last published .* ago",
                        page.text("#freshness")), page.text("#freshness")
    alive.digest("2026-11-20T13:00Z/PT30M")
    page.wait(lambda: len(page.all("#timeline .window")) == 3 and "3 windows published" in page.text("#store"))
    # A late object makes a new version, which is compared at once, for nobody is at work on the page.
    newest = max((path for path in Path(alive.logs).rglob("*.log.gz")), key=lambda path: path.name.split("_")[4])
    *name, _ = newest.name.split("_")
    shutil.copy(newest, newest.with_name("_".join([*name, "00000000.log.gz"])))
    before = len(asked(alive, "/v1/diffs"))
    alive.digest("2026-11-20T13:00Z/PT1H", "--force")
    page.wait(lambda: "2, final" in page.text("#after-coverage"))
    page.wait(lambda: len(asked(alive, "/v1/diffs")) > before)
    page.ready()
    assert page.shown() > 0 and not page.text("#news") and page.at() == {}
    # What did not change is not sent again, and nothing is drawn for it.
    page.js("window.kept = document.querySelector('#timeline .window')")
    calm = len(alive.seen)
    page.wait(lambda: len(alive.seen) > calm + 6)
    held = [headers for _, path, headers in alive.seen[calm:] if path.startswith("/v1/windows")]
    assert all("If-None-Match" in headers for headers in held), held
    assert page.js("return window.kept.isConnected")


def what_is_newer_is_said_and_leaves_what_a_person_does_alone(page, proxy):
    store = Store(proxy)
    page.hurry()
    page.open(f"{proxy.url}/#before={BEFORE}&after={AFTER}&q=tcp")
    page.ready()
    assert page.text("#freshness").startswith("Newest open window until 20 Nov 14:00, behind by 45 s; last published")
    page.js("window.kept = document.querySelector('#after').selectedOptions[0]")
    page.find(".more summary").click()
    page.type("#min_bytes", "12")
    before = len(asked(proxy, "/v1/diffs"))
    store.publish(2)
    page.wait(lambda: len(page.all("#timeline .window")) == 3)
    assert len(page.all("#after option")) == 3 and not page.text("#news"), "a pair that was picked stays, without a word"
    store.publish(1, state="final", lag_seconds=1860)
    page.wait(lambda: "version 2 (final) of 20 Nov 2026, 13:00 to 14:00 (1 h) was published" in page.text("#news"))
    page.shot("newer")
    assert page.find("#min_bytes").get_attribute("value") == "12" and page.at().get("min_bytes") is None
    assert page.driver.switch_to.active_element.get_attribute("id") == "min_bytes"
    assert page.js("return window.kept.selected && window.kept.isConnected")
    assert len(asked(proxy, "/v1/diffs")) == before, "the rows were changed unasked"
    assert "final after 31 min" in page.text("#freshness")
    page.js("document.querySelector('#min_bytes').value = ''")
    page.find("#news button").click()
    page.wait(lambda: len(asked(proxy, "/v1/diffs")) == before + 1)
    page.ready()
    assert not page.text("#news") and page.at()["q"] == "tcp" and page.at()["after"] == AFTER


def newer_windows_are_offered_to_who_searches_in_the_newest(page, proxy):
    store = Store(proxy)
    rows = get(f"{proxy.url}/v1/diffs?before={BEFORE}&after={AFTER}&by=link&format=ndjson")[1]
    page.hurry()
    page.open(proxy.url)
    page.ready()
    page.type("#q", "tcp")
    page.wait(lambda: "q" in page.at())
    store.publish(2)
    page.wait(lambda: "Newer windows are published" in page.text("#news"))
    assert page.at()["after"] == AFTER
    known = proxy.answer
    proxy.answer = lambda method, path, headers: known(method, path, headers) or (
        (200, {"Content-Type": "application/x-ndjson"}, rows) if path.startswith("/v1/diffs") else None)
    page.find("#news button").click()
    page.ready()
    next_hour = AFTER.replace("T14", "T15").replace("T13", "T14")
    assert (page.at()["before"], page.at()["after"], page.at()["q"]) == (AFTER, next_hour, "tcp"), page.at()
    page.driver.back()
    page.wait(lambda: page.at()["after"] == AFTER)


def nothing_is_asked_while_nobody_looks(page, proxy):
    Store(proxy)
    page.hurry()
    page.open(proxy.url)
    page.ready()
    hide = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true })"
    page.js(hide, True)
    time.sleep(0.7)
    before = len(proxy.seen)
    time.sleep(1)
    assert len(proxy.seen) == before
    page.js(f"{hide}; document.dispatchEvent(new Event('visibilitychange'))", False)
    page.wait(lambda: len(proxy.seen) > before)


def a_service_that_stands_still_is_told_in_a_line_and_asked_again(page, proxy):
    store = Store(proxy)
    page.hurry()
    page.open(proxy.url)
    page.ready()
    rows = page.shown()
    proxy.answer = lambda *_: HANG_UP
    page.wait(lambda: "The service cannot be reached since" in page.text("#unreachable"))
    assert page.shown() == rows and not page.all("[role=alert]"), "what is known stays"
    page.shot("unreachable")
    proxy.answer = lambda _, path, __: problem(503, "the store does not answer") if path.startswith("/v1/windows") else None
    page.wait(lambda: "cannot answer (the store does not answer)" in page.text("#unreachable"))
    proxy.answer = store.answer
    page.wait(lambda: not page.text("#unreachable"))
    assert not page.complaints(503)
    # A page that was opened in vain shows itself when it can.
    proxy.answer = lambda _, path, __: HANG_UP if path.startswith("/v1") else None
    page.open(proxy.url)
    page.wait(lambda: page.all("[role=alert]"))
    page.wait(lambda: page.text("#unreachable"))
    proxy.answer = store.answer
    page.ready()
    assert not page.text("#unreachable") and not page.all("[role=alert]")
    # Nor does a diff that broke off need a click.
    proxy.answer = lambda _, path, __: HANG_UP if path.startswith("/v1/diffs") else store.answer(_, path, __)
    page.choose("#by", "host")
    page.wait(lambda: page.all("#notice [role=alert]"))
    proxy.answer = store.answer
    page.ready()
    assert not page.text("#notice")


def a_token_that_is_refused_later_is_asked_for_once(page, proxy):
    store = Store(proxy)
    page.hurry()
    page.open(proxy.url)
    page.ready()
    proxy.answer = lambda _, path, __: problem(401, "this service wants a token") if path.startswith("/v1/") else None
    page.wait(lambda: "wants a token" in page.text("#windows-notice"))
    assert not page.find("#token-dialog").is_displayed() and page.shown() > 0
    before = len(proxy.seen)
    time.sleep(1)
    assert len(proxy.seen) <= before + 1
    proxy.answer = store.answer
    page.find("#windows-notice button").click()
    page.ready()
    assert not page.text("#windows-notice") and not page.complaints(401)


def an_empty_store_says_what_to_do(page, empty):
    page.open(empty.url)
    page.wait(lambda: "flowdiff backfill" in page.text("#windows-notice"))
    assert not page.find("#difference").is_displayed()
    page.shot("empty")


#: Tests that want another service than the one on the logs and digests of the demo.
ELSEWHERE = {
    an_empty_store_says_what_to_do: "empty",
    a_window_that_is_not_there_names_those_nearby: "without logs",
    follows_what_another_process_publishes: "alive",
}

TESTS = [
    opens_with_the_newest_two_adjacent_windows,
    sorts_by_mouse_and_by_keyboard_and_keeps_the_focus,
    searches_and_filters_and_a_link_shows_the_same,
    compares_by_every_grain_and_goes_back,
    windows_of_an_address_may_be_written_as_the_service_reads_them,
    thresholds_are_passed_on,
    picks_windows_by_mouse_and_by_keyboard,
    the_picture_tells_counters_and_evidence_by_keyboard,
    every_format_is_a_link_that_works,
    raw_records_open_beside_the_row,
    fits_a_telephone_and_reads_in_the_dark,
    everything_that_takes_the_focus_has_a_name,
    hostile_text_stays_text,
    a_token_is_asked_for_kept_in_the_tab_and_sent,
    windows_that_are_not_built_are_waited_for,
    a_problem_is_told_with_what_to_do_and_can_be_tried_again,
    a_window_that_is_not_there_names_those_nearby,
    coverage_is_marked_by_more_than_colour_and_gaps_can_be_built,
    a_large_diff_says_what_it_shows_and_what_it_leaves_out,
    the_description_lists_every_operation,
    follows_what_another_process_publishes,
    what_is_newer_is_said_and_leaves_what_a_person_does_alone,
    newer_windows_are_offered_to_who_searches_in_the_newest,
    nothing_is_asked_while_nobody_looks,
    a_service_that_stands_still_is_told_in_a_line_and_asked_again,
    a_token_that_is_refused_later_is_asked_for_once,
    an_empty_store_says_what_to_do,
]


def passes(test, page, proxy):
    """Runs one test on a page as it is at first; what the browser complains of is a failure, too."""
    name = test.__name__.replace("_", " ")
    proxy.answer, proxy.seen = None, []
    page.size(1280, 900)
    page.scheme("light")
    try:
        test(page, proxy)
        complaints = page.complaints()
        assert not complaints, complaints
    except Exception:
        page.complaints()
        print(f"FAILED: {name}\n{traceback.format_exc()}", file=sys.stderr)
        page.shot(f"failed-{test.__name__}")
        return False
    finally:
        page.js("sessionStorage.clear()")
        page.at_ease()
    print(f"ok: {name}")
    return True


def main():
    binary, screenshots = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    if screenshots:
        os.makedirs(screenshots, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "demo", "--dir", folder], check=True, capture_output=True)
        os.mkdir(f"{folder}/empty")
        for part in ("logs", "digests"):
            shutil.copytree(f"{folder}/{part}", f"{folder}/alive/{part}")
        processes = []
        failed = []
        page = Page(screenshots)
        try:
            proxies = {}
            logs = ["--source", f"{folder}/logs"]
            for name, store, source in [("demo", "digests", logs), ("empty", "empty", logs), ("alive", "alive/digests", ["--source", f"{folder}/alive/logs"]),
                                        ("without logs", "digests", [])]:
                process, port = serve(binary, f"{folder}/{store}", source)
                processes.append(process)
                proxies[name] = Proxy(port)
                proxies[name].logs = source[-1] if source else None
                there = ["--store", f"{folder}/{store}", *source]
                # Another process publishes in the store.
                proxies[name].digest = lambda *arguments, there=there: subprocess.run(
                    [binary, "digest", *arguments, *there], check=True, capture_output=True)
            for test in TESTS:
                proxy = proxies[ELSEWHERE.get(test, "demo")]
                failed += [] if passes(test, page, proxy) else [test]
        finally:
            page.driver.quit()
            for process in processes:
                process.terminate()
    print(f"{len(TESTS) - len(failed)} of {len(TESTS)} tests of the page passed")
    sys.exit(bool(failed))


main()
