"""report.html: a run on one page that needs no network, made from the files in its workdir."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv import pages
from jaxcv.errors import UserError
from jaxcv.files import read_json, write_bytes
from jaxcv.logs import read_metrics

_CAPTIONS = {
    "curves": "What was minimised and what is scored, by epoch.",
    "features": "What each hidden unit looks for: its weights as a picture, scaled alone, those "
    "with the largest norm first. Mid grey is zero.",
    "patches": "Patches as they were drawn, and as they are learnt from.",
    "reconstructions": "Images, and what the network makes of them.",
    "cost_terms": "The cost and its terms by epoch.",
    "activations": "How active the hidden units are on average, and how active they should be.",
    "weights": "The weights that see the image, each unit or class scaled alone: bright pixels "
    "speak for it, dark ones against. Mid grey is zero.",
    "templates": "The weights of each class as a picture: bright pixels speak for it, dark ones "
    "against. Mid grey is zero.",
    "filters": "The weights of the first layer, each unit scaled alone. Mid grey is zero.",
    "predictions": "Test images, the true class above each, beside the model's three likeliest "
    "classes. The true class is blue, a wrong first choice orange.",
    "confusion": "How many test images of each class (rows) were taken for which (columns).",
}
_MOST_ROWS = 50
_COLUMNS = {  # of metrics.jsonl: heading and format
    "epoch": ("epoch", ",.0f"),
    "step": ("step", ",.0f"),
    "train_loss": ("loss", ".4f"),
    "train_accuracy": ("accuracy", ".4f"),
    "train_cost": ("cost", ".4f"),
    "train_reconstruction": ("reconstruction", ".4f"),
    "train_decay": ("weight decay", ".4f"),
    "train_sparsity": ("sparsity", ".4f"),
    "val_loss": ("validation loss", ".4f"),
    "val_accuracy": ("validation accuracy", ".4f"),
    "val_cost": ("validation cost", ".4f"),
    "learning_rate": ("learning rate", ".4g"),
    "seconds": ("seconds", ".2f"),
    "images_per_second": ("images/s", ",.0f"),
}
_Record = Mapping[str, Any]


def write_report(workdir: Path) -> Path:
    """Make the page of a run, finished or not, from the files in its workdir.

    Everything is in the one file: pictures are inlined, there is no script, and the page's content
    security policy lets nothing be fetched. The same files give the same page.

    Args:
        workdir: holds experiment.json, and of metrics.jsonl, result.json and figures/*.png what the
            run has left so far.

    Returns:
        The path of the page, workdir/report.html.

    Raises:
        UserError: no such directory, no experiment.json in it, or a file in it that is broken.
        OSError: the page cannot be written.
    """
    if not workdir.is_dir():
        raise UserError(f"{workdir}: no such directory; name the workdir of a run")
    if not (workdir / "experiment.json").is_file():
        raise UserError(f"{workdir}: holds no experiment.json; name the workdir of a run")
    experiment = read_json(workdir / "experiment.json")
    result_path = workdir / "result.json"
    result = read_json(result_path) if result_path.exists() else {}
    metrics = read_metrics(workdir / "metrics.jsonl")
    name = str(result.get("experiment") or experiment.get("name") or workdir.resolve().name)
    parts = [
        _heading(name, experiment, result, metrics),
        _headline(result, metrics),
        _figures(workdir / "figures"),
        _settings(experiment),
        _epochs(metrics, result.get("best_epoch")),
        _provenance(result),
        pages.section("Run it again", "<pre>jaxcv run experiment.json</pre>"),
    ]
    path = workdir / "report.html"
    write_bytes(path, pages.page(f"{name} · jaxcv", parts).encode("utf-8", "replace"))
    return path


def _heading(name: str, experiment: _Record, result: _Record, metrics: Sequence[_Record]) -> str:
    model = experiment.get("model")
    facts = [str(model["type"])] if isinstance(model, Mapping) and "type" in model else []
    for fact in ("data", "seed"):
        value = result.get(fact, experiment.get(fact))
        facts += [] if value is None else [f"{fact} {value}"]
    lines = [
        f"<h1>{pages.text(name)}</h1>",
        f'<p class="soft">{pages.text(" · ".join(facts))}</p>',
    ]
    if not result:
        done = metrics[-1].get("epoch") if metrics else 0
        total = experiment.get("epochs", "?")
        lines.append(
            f'<p class="notice">Not finished: {pages.text(done)} of {pages.text(total)} epochs are '
            "done. <code>jaxcv report</code> makes this page again.</p>"
        )
    return "<header>\n" + "\n".join(lines) + "\n</header>"


def _headline(result: _Record, metrics: Sequence[_Record]) -> str:
    last = metrics[-1] if metrics else {}
    values = [
        ("test accuracy", _format(result.get("test_accuracy"), ".2%")),
        ("test cost", _format(result.get("test_cost"), ".4f")),
        ("validation accuracy", _format(result.get("val_accuracy"), ".2%")),
        ("validation cost", _format(result.get("val_cost"), ".4f")),
    ]
    if not result:
        values += [
            ("validation accuracy so far", _format(last.get("val_accuracy"), ".2%")),
            ("validation cost so far", _format(last.get("val_cost"), ".4f")),
            ("training loss so far", _format(last.get("train_loss"), ".4f")),
            ("training cost so far", _format(last.get("train_cost"), ".4f")),
        ]
    speed = result.get("images_per_second", last.get("images_per_second"))
    best, epochs = _format(result.get("best_epoch"), ",.0f"), _format(result.get("epochs"), "g")
    values += [
        ("parameters", _format(result.get("num_params"), ",.0f")),
        ("best epoch", f"{best} of {epochs}" if best and epochs else ""),
        ("trained for", _duration(_trained_for(metrics))),
        ("images/s", _format(speed, ",.0f")),
    ]
    return pages.cards(values)


def _trained_for(metrics: Sequence[_Record]) -> float | None:
    """Seconds in all epochs, whichever process trained them; without evaluation or compilation."""
    seconds = [line["seconds"] for line in metrics if _is_number(line.get("seconds"))]
    return sum(seconds) if seconds else None


def _figures(directory: Path) -> str:
    order = list(_CAPTIONS)

    def place(path: Path) -> tuple[int, str]:
        return order.index(path.stem) if path.stem in order else len(order), path.name

    figures = []
    for path in sorted(directory.glob("*.png"), key=place):
        png = path.read_bytes() if path.is_file() else b""
        if png.startswith(b"\x89PNG\r\n\x1a\n"):
            caption = _CAPTIONS.get(path.stem, path.stem.replace("_", " "))
            figures.append(pages.figure(png, caption))
    return pages.section("Figures", "\n".join(figures))


def _settings(experiment: _Record) -> str:
    plain: dict[str, Any] = {}
    parts: list[tuple[str, _Record]] = []
    for name, value in experiment.items():
        items = value if isinstance(value, list) else [value]
        if items and all(isinstance(item, Mapping) for item in items):
            parts += [(name, item) for item in items]
        else:
            plain[name] = value
    groups = [pages.pairs(plain, "experiment")] if plain else []
    for name, part in parts:
        title = f"{name}: {part['type']}" if "type" in part else name
        groups.append(pages.pairs({k: v for k, v in part.items() if k != "type"}, title))
    return pages.section("Settings", '<div class="columns">\n' + "\n".join(groups) + "\n</div>")


def _epochs(metrics: Sequence[_Record], best: Any) -> str:
    if not metrics:
        return ""
    names = [n for n in _COLUMNS if any(record.get(n) is not None for record in metrics)]
    last = len(metrics) - 1
    chosen = range(len(metrics))
    note = ""
    if len(metrics) > _MOST_ROWS:
        even = {round(i * last / (_MOST_ROWS - 2)) for i in range(_MOST_ROWS - 1)}
        best_row = {i for i, record in enumerate(metrics) if record.get("epoch") == best}
        chosen = sorted(even | best_row)
        note = (
            f'\n<p class="soft">{len(chosen)} of {len(metrics):,} epochs; all of them are in '
            "<code>metrics.jsonl</code>.</p>"
        )
    shown = [metrics[i] for i in chosen]
    rows = [[_format(record.get(n), _COLUMNS[n][1]) or "–" for n in names] for record in shown]
    emphasised = [i for i, record in enumerate(shown) if best and record.get("epoch") == best]
    content = pages.table([_COLUMNS[n][0] for n in names], rows, emphasised)
    return pages.section("Epochs", content + note)


def _provenance(result: _Record) -> str:
    versions = result.get("versions")
    facts = dict(versions) if isinstance(versions, Mapping) else {}
    for title, name in (
        ("device", "device"),
        ("seconds of compilation", "compile_seconds"),
        ("resumed from steps", "resumed_from_steps"),
        ("SHA-256 of the parameters", "params_sha256"),
    ):
        if result.get(name):
            facts[title] = result[name]
    return pages.section("Made with", pages.pairs(facts, style="wide") if facts else "")


def _is_number(value: Any) -> bool:
    """Tell the numbers that a format can show from all else that a file may hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _format(value: Any, form: str) -> str:
    """Return a number in a format, nothing for None, and anything else as it is."""
    if _is_number(value):
        return format(value, form)
    return "" if value is None else str(value)


def _duration(value: Any) -> str:
    if not _is_number(value):
        return _format(value, "")
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
