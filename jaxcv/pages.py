"""A self-contained HTML page: no script, nothing fetched, every text escaped."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d2126; --soft: #626b76;
  --line: #e3e5e8; --accent: #0072b2; --stripe: #f6f7f8; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1d2125; --ink: #e8eaed;
  --soft: #9aa4af; --line: #30363c; --accent: #62b5e5; --stripe: #22272b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 48px 0 14px; }
p { margin: 6px 0 0; }
.soft, figcaption, dt, th { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px;
  margin: 28px 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 12px 14px; }
.card dt { font-size: 12.5px; }
.card dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.card:first-child dd { color: var(--accent); }
.notice { background: var(--card); border: 1px solid var(--line); padding: 10px 14px;
  border-left: 4px solid #e69f00; border-radius: 6px; margin-top: 20px; }
figure { margin: 0 0 22px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; }
figure div { background: #fff; padding: 16px; text-align: center; }
figure img { max-width: 100%; height: auto; display: inline-block; vertical-align: middle; }
figcaption { padding: 10px 16px; font-size: 14px; border-top: 1px solid var(--line); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px; text-align: right; white-space: nowrap; }
th { font-weight: 500; border-bottom: 1px solid var(--line); }
tbody tr:nth-child(even) { background: var(--stripe); }
tr.best td { font-weight: 700; color: var(--accent); }
.columns { columns: 3 280px; column-gap: 12px; }
.columns .scroll { break-inside: avoid; margin-bottom: 12px; }
.pairs { padding: 6px 0; }
.pairs th, .pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere;
  border: 0; vertical-align: top; padding: 4px 14px; }
.pairs th { width: 52%; }
.wide th { width: 220px; }
.pairs caption { text-align: left; font-weight: 600; padding: 6px 14px 4px; }
pre, code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 14px; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 0;
  padding: 12px 16px; overflow-x: auto; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page.

    Its content security policy forbids scripts and every request, even that for an icon; light or
    dark is as the reader's system prefers.

    Args:
        title: plain text, for the window.
        parts: HTML made with the functions of this module; empty ones are left out.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """Return a heading and, under it, HTML; nothing when there is no content."""
    return f"<section>\n<h2>{text(title)}</h2>\n{content}\n</section>" if content else ""


def cards(values: Iterable[tuple[str, str]]) -> str:
    """Return large figures under small titles, both plain text; empty values are left out."""
    shown = "\n".join(
        f'<div class="card"><dt>{text(title)}</dt><dd>{text(value)}</dd></div>'
        for title, value in values
        if value
    )
    return f'<dl class="cards">\n{shown}\n</dl>' if shown else ""


def figure(png: bytes, caption: str) -> str:
    """Return a picture and its caption, the PNG file's bytes inlined.

    Figures are drawn at 150 pixels an inch and shown at the web's 96, so that they are sharp on
    dense screens.
    """
    width = round(int.from_bytes(png[16:20], "big") * 96 / 150)
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = f'<img src="{source}" alt="{text(caption)}" width="{width}">'
    return f"<figure><div>{image}</div><figcaption>{text(caption)}</figcaption></figure>"


def pairs(values: Mapping[str, Any], title: str = "", style: str = "") -> str:
    """Return a two-column table of names and JSON values, with a title if there is one."""
    rows = "\n".join(
        f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in values.items()
    )
    caption = f"<caption>{text(title)}</caption>" if title else ""
    return f'<div class="scroll pairs {style}"><table>{caption}\n{rows}\n</table></div>'


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], emphasised: Sequence[int] = ()
) -> str:
    """Return a table of plain texts, some of its rows, by index, emphasised."""
    head = "".join(f"<th>{text(column)}</th>" for column in columns)
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{text(cell)}</td>" for cell in row)
        lines.append(
            f'<tr class="best">{cells}</tr>' if index in emphasised else f"<tr>{cells}</tr>"
        )
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def text(value: Any) -> str:
    """Return any JSON value as escaped text: None is a dash, a list its items and commas."""
    return html.escape(_plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
