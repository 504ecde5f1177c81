"""report.html: what it says, that nothing in it escapes, and how a real browser shows it."""

import base64
import functools
import html.parser
import http.server
import itertools
import json
import math
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxcv import plots
from jaxcv.errors import UserError
from jaxcv.reports import write_report

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EXPERIMENT = {
    "name": "cnn",
    "data": "digits",
    "epochs": 3,
    "seed": 7,
    "clip_norm": None,
    "model": {"type": "CNN", "features": [64, 32]},
    "optimizer": {"type": "Adam", "learning_rate": 0.001},
    "augmentation": [{"type": "Flip", "probability": 0.5}],
}
RESULT = {
    "experiment": "cnn",
    "data": "digits",
    "seed": 7,
    "epochs": 3,
    "best_epoch": 2,
    "val_accuracy": 0.9861,
    "test_accuracy": 0.98333,
    "num_params": 79690,
    "params_sha256": "ab" * 32,
    "resumed_from_steps": [],
    "seconds": 63.4,
    "compile_seconds": 1.5,
    "images_per_second": 1034.2,
    "versions": {"python": "3.11.9", "jax": "0.9.2"},
    "device": "cpu",
}


def records(count: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 1 - 1 / epoch,
            "val_loss": 2 / epoch,
            "val_accuracy": 0.9,
            "learning_rate": 0.001,
            "seconds": 1.0,
            "images_per_second": 1000.0,
        }
        for epoch in range(1, count + 1)
    ]


def make(
    workdir: Path,
    experiment: Any = EXPERIMENT,
    result: Any = RESULT,
    metrics: Any = None,
    figures: tuple[str, ...] = ("curves", "predictions"),
) -> Path:
    """A workdir as a run leaves it."""
    (workdir / "figures").mkdir(parents=True)
    (workdir / "experiment.json").write_text(json.dumps(experiment))
    if result is not None:
        (workdir / "result.json").write_text(json.dumps(result))
    lines = records(3) if metrics is None else metrics
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in figures:
        (workdir / "figures" / f"{name}.png").write_bytes(PIXEL)
    return workdir


class Page(html.parser.HTMLParser):
    """The tags and the visible text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip() and self.tags[-1][0] != "style":
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_finished_run_shows_its_result(tmp_path: Path):
    path = write_report(make(tmp_path / "run"))
    assert path == tmp_path / "run" / "report.html"
    page = Page(path)
    shown = page.text
    for title, value in (
        ("test accuracy", "98.33%"),
        ("validation accuracy", "98.61%"),
        ("parameters", "79,690"),
        ("best epoch", "2 of 3"),
        ("trained for", "3.0 s"),  # by its epochs, not by the process that ended it
        ("images/s", "1,034"),
        ("learning_rate", "0.001"),
        ("features", "64, 32"),
        ("probability", "0.5"),
        ("jax", "0.9.2"),
        ("device", "cpu"),
    ):
        assert (title, value) in itertools.pairwise(shown)
    assert {"model: CNN", "augmentation: Flip"} <= set(shown)
    assert "jaxcv run experiment.json" in shown
    assert len(page.all("img")) == 2
    assert len(page.all("figcaption")) == 2
    assert not any("Not finished" in text for text in shown)


def test_the_best_epoch_stands_out_in_the_table(tmp_path: Path):
    text = write_report(make(tmp_path / "run")).read_text()
    assert re.findall(r'<tr class="best"><td>(.+?)</td>', text) == ["2"]


def test_a_run_in_progress_says_so(tmp_path: Path):
    workdir = make(tmp_path / "run", result=None, figures=())
    page = Page(write_report(workdir))
    text = " ".join(page.text)
    assert "Not finished: 3 of 3 epochs" in text
    assert "validation accuracy so far 90.00%" in text
    assert not page.all("img")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "tra')
    assert Page(write_report(workdir)).text == page.text


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path):
    workdir = make(tmp_path / "run", result=None, metrics=[], figures=())
    (workdir / "metrics.jsonl").unlink()
    (workdir / "figures").rmdir()
    assert "Not finished: 0 of 3 epochs" in " ".join(Page(write_report(workdir)).text)


def test_an_autoencoder_shows_its_costs(tmp_path: Path):
    result = {**RESULT, "val_cost": 1.23456, "test_cost": 1.34567}
    del result["val_accuracy"], result["test_accuracy"]
    metrics = [{"epoch": 1, "train_loss": 2.0, "val_loss": None, "train_accuracy": None}]
    page = Page(write_report(make(tmp_path / "run", result=result, metrics=metrics)))
    text = " ".join(page.text)
    assert "test cost 1.3457 validation cost 1.2346" in text
    assert "test accuracy" not in text
    assert "epoch loss 1 2.0000" in text  # columns without any value are left out


@pytest.mark.parametrize(("count", "rows"), [(50, 50), (51, 50), (5000, 50)])
def test_a_long_table_is_thinned(tmp_path: Path, count: int, rows: int):
    result = {**RESULT, "best_epoch": 17}
    page = Page(write_report(make(tmp_path / "run", result=result, metrics=records(count))))
    text = " ".join(page.text)
    epochs = [
        int(t.replace(",", "")) for t in re.findall(r"(?<= )([\d,]+) [\d,]+0 \d\.\d{4} ", text)
    ]
    assert epochs == sorted(set(epochs))
    assert {1, 17, count} <= set(epochs)
    assert rows - 1 <= len(epochs) <= rows
    assert ("all of them are in" in text) == (count > 50)


HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"


TAGS = {
    *("html", "head", "meta", "title", "link", "style", "body", "main", "header", "section", "h1"),
    *("h2", "p", "dl", "dt", "dd", "div", "figure", "figcaption", "img", "table", "caption"),
    *("thead", "tbody", "tr", "th", "td", "pre", "code"),
}


def test_hostile_names_and_values_are_text(tmp_path: Path):
    experiment = {
        "name": HOSTILE,
        HOSTILE: HOSTILE,
        "epochs": HOSTILE,
        "model": {"type": HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
    }
    result = dict.fromkeys(RESULT, HOSTILE) | {"versions": {HOSTILE: HOSTILE}}
    metrics = [{"epoch": HOSTILE, "train_loss": HOSTILE, "val_accuracy": [HOSTILE], HOSTILE: 1}]
    name = HOSTILE.replace("/", "")
    for number, outcome in enumerate((result, None)):
        workdir = make(tmp_path / str(number), experiment, outcome, metrics, (name, "curves"))
        page = Page(write_report(workdir))
        tags = {tag for tag, _ in page.tags}
        assert tags <= TAGS
        assert not any(key.startswith("on") for _, given in page.tags for key in given)
        for image in page.all("img"):
            assert str(image["src"]).startswith("data:image/png;base64,")
        assert sum(HOSTILE in text for text in page.text) >= 5
        assert any(name in text for text in page.text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(
    experiment=st.fixed_dictionaries({}, optional=dict.fromkeys(EXPERIMENT, VALUES)),
    result=st.fixed_dictionaries({}, optional=dict.fromkeys(RESULT, VALUES)),
    metrics=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(records(1)[0], VALUES))),
)
@example(experiment={"epochs": 10**400}, result={"seconds": math.inf}, metrics=[{"step": 10**400}])
@settings(max_examples=20, deadline=None)
def test_any_values_make_a_page(experiment: Any, result: Any, metrics: Any):
    with tempfile.TemporaryDirectory() as directory:
        workdir = make(Path(directory) / "run", experiment, result, metrics)
        assert {tag for tag, _ in Page(write_report(workdir)).tags} <= TAGS


def test_the_page_forbids_scripts_and_requests(tmp_path: Path):
    page = Page(write_report(make(tmp_path / "run")))
    policies = [
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not page.all("script")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert "url(" not in (tmp_path / "run" / "report.html").read_text()


def test_what_is_no_picture_is_left_out(tmp_path: Path):
    workdir = make(tmp_path / "run")
    (workdir / "figures" / "half.png").write_bytes(b"")
    (workdir / "figures" / "page.png").write_text("<script>alert(1)</script>")
    (workdir / "figures" / "folder.png").mkdir()
    assert len(Page(write_report(workdir)).all("img")) == 2


def test_the_same_files_give_the_same_page(tmp_path: Path):
    workdir = make(tmp_path / "run")
    first = write_report(workdir).read_bytes()
    assert write_report(workdir).read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("experiment.json", None, "holds no experiment.json"),
        ("experiment.json", "{", "experiment.json: not valid JSON"),
        ("experiment.json", "[]", "experiment.json: holds a JSON list"),
        ("result.json", '{"test_accuracy":', "result.json: not valid JSON"),
        ("metrics.jsonl", "nonsense\n{}\n", "metrics.jsonl: line 1"),
    ],
)
def test_broken_workdirs_are_user_errors(
    tmp_path: Path, name: str, content: str | None, complaint: str
):
    workdir = make(tmp_path / "run")
    (workdir / name).unlink()
    if content is not None:
        (workdir / name).write_text(content)
    with pytest.raises(UserError, match=complaint):
        write_report(workdir)
    assert not (workdir / "report.html").exists()


def test_a_missing_workdir_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="no such directory"):
        write_report(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


# --- in a real browser --------------------------------------------------------------------------

# Scripts may not run in the report, so a page around it looks into it.
AROUND = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe src="report.html" width="1100" height="800"></iframe><output></output>
<script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const images = [...page.images].map(i => [i.complete, i.naturalWidth, i.clientWidth]);
  const wide = page.documentElement.scrollWidth > page.documentElement.clientWidth;
  const seen = {title: page.title, images, wide, heading: page.querySelector("h1").innerText};
  document.querySelector("output").textContent = JSON.stringify(seen);
  console.log("looked");
});
</script>"""


class Recorder(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and remembers what was asked for."""

    asked: list[str]

    def __init__(self, *arguments: Any, asked: list[str], **options: Any):
        self.asked = asked
        super().__init__(*arguments, **options)

    def log_message(self, format: str, *args: Any) -> None:
        self.asked.append(self.path)


def browse(browser: str, url: str) -> tuple[str, str]:
    """The page's DOM after loading, and what the browser logged."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
                f"--user-data-dir={profile}",
                "--enable-logging=stderr",
                "--v=0",
                "--dump-dom",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return done.stdout, done.stderr


def test_a_browser_shows_the_page_asks_for_nothing_and_reports_no_error(tmp_path: Path):
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium here")
    result = {**RESULT, "experiment": "<b>cnn</b>"}
    workdir = make(tmp_path / "run", result=result, figures=("other",))
    plots.save(plots.curves(records(3), 2), workdir / "figures" / "curves.png")
    write_report(workdir)
    (workdir / "around.html").write_text(AROUND)
    asked: list[str] = []
    handler = functools.partial(Recorder, directory=str(workdir), asked=asked)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/around.html"
            dom, log = browse(browser, url)
        finally:
            server.shutdown()
            thread.join()
    found = re.search(r"<output>(.+?)</output>", dom)
    assert found, log
    seen = json.loads(html.unescape(found.group(1)))
    assert (seen["heading"], seen["title"]) == ("<b>cnn</b>", "<b>cnn</b> · jaxcv")
    assert [(done, width) for done, width, _ in seen["images"]] == [(True, 1350), (True, 1)]
    assert all(shown > 0 for _, _, shown in seen["images"])
    assert not seen["wide"]  # nothing is cut off at the side
    assert sorted(asked) == ["/around.html", "/report.html"]
    console = [line for line in log.splitlines() if "CONSOLE" in line]
    assert len(console) == 1, console
    assert "looked" in console[0]


def test_a_part_of_an_epoch_is_shown_as_it_is(tmp_path: Path):
    page = Page(write_report(make(tmp_path / "run", result=RESULT | {"epochs": 9.9})))
    assert ("best epoch", "2 of 9.9") in itertools.pairwise(page.text)
