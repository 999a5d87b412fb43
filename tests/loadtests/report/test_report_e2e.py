"""The report of a real run: complete, self-contained, and its charts have data."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtests.load.target import Target
from server.triton import TritonServer
from tests.loadtests.command import Finished

pytestmark = pytest.mark.e2e

SVG = "{http://www.w3.org/2000/svg}"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SERIES = {
    "Goodput and latency by users": {"goodput", "p99"},
    "Throughput": {"right answers", "failures"},
    "Latency": {"p50", "p90", "p99", "p99.9"},
    "Where the time of a request went": {"network", "queue", "compute"},
    "Mean batch": {"sentiment_tokenizer", "sentiment_bert"},
    "Processors": {"server", "client", "others"},
}


@pytest.fixture
def page(steps: Finished) -> str:
    """The HTML of the report."""
    assert steps.page
    return steps.page.read_text()


def series(page: str) -> dict[str, dict[str, str]]:
    """The path of each series of each chart, by the chart's title and the series' name."""
    found: dict[str, dict[str, str]] = {}
    for text in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        chart = ElementTree.fromstring(text)  # noqa: S314 - our own
        drawn = found.setdefault(chart.attrib["aria-label"], {})
        for group in chart.iter(f"{SVG}g"):
            path = group.find(f"{SVG}path")
            name = group.attrib.get("id", "").partition(".")[2]
            if path is not None:
                drawn[name] = path.attrib["d"]
            elif (use := group.find(f"{SVG}defs/{SVG}path")) is not None:
                drawn[name] = use.attrib["d"]
    return found


def test_every_chart_draws_every_point_that_was_measured(page: str, steps: Finished) -> None:
    drawn = series(page)
    intervals, levels = steps.result["intervals"], steps.result["levels"]
    assert drawn.keys() == SERIES.keys()
    for title, names in SERIES.items():
        for name in names:
            points = len(re.findall(r"[ML] ", drawn[title][name]))
            assert points >= (len(levels) if "users" in title else len(intervals) - 1), (
                title,
                name,
            )


def test_the_page_needs_no_network(page: str) -> None:
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.findall(r"""(?:src|href|url\()=?["']?(?:https?:)?//""", without_names)
    assert "<script src" not in page
    assert "<link" not in page
    assert "@import" not in page


def test_the_page_holds_the_same_data_as_the_json_file(page: str, steps: Finished) -> None:
    assert steps.page
    embedded = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    assert embedded
    in_file = json.loads(steps.page.with_suffix(".json").read_text())
    assert json.loads(embedded[1]) == in_file == steps.report


def test_the_intervals_are_a_table_for_spreadsheets(steps: Finished) -> None:
    assert steps.page
    with steps.page.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    intervals = steps.result["intervals"]
    assert [float(row["goodput"]) for row in rows] == [each["goodput"] for each in intervals]
    for row, interval in zip(rows, intervals, strict=True):
        queued = interval["split"]["queue"]
        assert row["split.queue"] == ("" if queued is None else str(queued))


def test_it_says_what_is_needed_to_repeat_the_run(
    page: str, steps: Finished, server: TritonServer
) -> None:
    report = steps.report
    assert report["command"] == (
        "make loadtest MODEL=sentiment PROTOCOL=grpc SHAPE=steps USERS=2 DURATION=4 WARM_UP=1 "
        f"SEED=5 PROCESSES=2 INPUTS=40 P99_MS=10000 MIN_RPS=1 MAX_FAIL=0 URL={server.http_url}"
    )
    assert report["command"] in page
    assert report["versions"]["triton"] == Target.of(server).server_version()
    assert {"processor", "cores", "memory", "system"} == report["machine"].keys()
    assert list(report["config"]) == ["sentiment", "sentiment_tokenizer", "sentiment_bert"]
    assert 'backend: "onnxruntime"' in report["config"]["sentiment_bert"]


def test_it_says_what_a_reader_has_to_know(steps: Finished) -> None:
    assert "first 1 s" in steps.report["warm_up"]["why"]
    notes = " ".join(steps.report["notes"])
    assert "share this machine's" in notes
    assert "A closed loop" in notes
    assert "another machine" in notes


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium")
def test_a_browser_draws_the_charts(page: str, tmp_path: Path) -> None:
    assert CHROMIUM
    # Asks the browser itself how long each line is that it drew.
    measure = """
    <script>
    const found = [...document.querySelectorAll("figure svg")].map(svg => ({
        title: svg.getAttribute("aria-label"),
        width: svg.getBoundingClientRect().width,
        lengths: Object.fromEntries([...svg.querySelectorAll("g[id] > path")].map(
            path => [path.parentNode.id.split(".").slice(1).join("."), path.getTotalLength()]
        )),
    }));
    document.body.textContent = "";
    const out = document.createElement("pre");
    out.id = "found";
    out.textContent = JSON.stringify(found);
    document.body.append(out);
    </script>
    """
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert policy.search(page)
    copy = tmp_path / "report.html"
    copy.write_text(policy.sub("", page).replace("</body>", f"{measure}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    dom = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", copy.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    shown = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert shown
    charts = {chart["title"]: chart for chart in json.loads(shown[1])}
    assert charts.keys() == SERIES.keys()
    for title, names in SERIES.items():
        assert charts[title]["width"] > 300
        lines = names - {"network", "queue", "compute"}  # areas stand in a <use>
        assert all(charts[title]["lengths"][name] > 50 for name in lines), charts[title]
