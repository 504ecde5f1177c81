"""`jaxcv inspect`: a network's layers as people and programs read them."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxcv.errors import UserError

if TYPE_CHECKING:
    from jaxcv.inspection import Inspection

_HEADINGS = ("layer", "output", "parameters", "receptive field", "stride", "multiply-adds")

USAGE = """usage: jaxcv inspect MODEL [--input HEIGHT,WIDTH,CHANNELS] [--json]

A row for each layer of a network on one image: the shape that it gives, its trainable parameters,
the receptive field of its outputs in pixels of the image and the stride between two of them, its
multiplications with addition. MODEL is an experiment's name (cnn_global_pool), resnet20 for any
depth 6n + 2, or the name of a module with its defaults (DenseNet).

  --input  shape of an image; default 32,32,3
  --json   print one JSON object in place of the table"""


def as_text(inspection: "Inspection") -> str:
    """Aligned columns, as wide as they need to be, and a row of totals."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for layer in inspection.layers:
        rows.append(
            (
                layer.name,
                _times(layer.output_shape),
                f"{layer.parameters:,}",
                _times(layer.receptive_field),
                "" if layer.stride is None else _times(layer.stride),
                f"{layer.multiply_adds:,}",
            )
        )
    image = _times(inspection.input_shape)
    total = (f"{inspection.parameters:,}", "", "", f"{inspection.multiply_adds:,}")
    rows.append(("total", f"for {image}", *total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "─" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def as_json(name: str, inspection: "Inspection") -> str:
    """One object: the layers, and the totals."""
    record: dict[str, Any] = {
        "model": name,
        "input": list(inspection.input_shape),
        "layers": [layer._asdict() for layer in inspection.layers],
        "parameters": inspection.parameters,
        "multiply_adds": inspection.multiply_adds,
    }
    return json.dumps(record, indent=2)


def run(arguments: Sequence[str]) -> None:
    """Inspects and prints.

    Raises:
        UserError: no or an unknown network, images that it does not take, or no device for them.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return
    names = [argument for argument in arguments if not argument.startswith("-")]
    names = [name for name in names if not _is_value(name, arguments)]
    if len(names) != 1:
        raise UserError("inspect takes one network: jaxcv inspect MODEL [--input 32,32,3] [--json]")
    from jaxcv.flags import parse
    from jaxcv.inspection import inspect
    from jaxcv.models import MODELS, network
    from jaxcv.runtime import require_device

    flags = parse(_Flags, [a for a in arguments if a != names[0]], "jaxcv inspect", "")
    model = MODELS[names[0]]() if names[0] in MODELS else network(names[0])
    shape = _shape(flags.input)
    require_device()
    try:
        inspection = inspect(model, shape)
    except (TypeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{names[0]} takes no images of {_times(shape)}: {reason}") from None
    print(as_json(names[0], inspection) if flags.json else as_text(inspection))


@dataclasses.dataclass(frozen=True)
class _Flags:
    input: str = "32,32,3"
    json: bool = False


def _is_value(argument: str, arguments: Sequence[str]) -> bool:
    """Whether an argument is what --input is given."""
    index = list(arguments).index(argument)
    return index > 0 and arguments[index - 1] == "--input"


def _shape(text: str) -> tuple[int, int, int]:
    sizes = [int(part) for part in text.split(",") if part.isdecimal() and len(part) < 6]
    if len(sizes) != 3 or text.count(",") != 2 or min(sizes) < 1:
        raise UserError(
            f"--input must be height, width and channels such as 32,32,3, not {text[:40]!r}"
        )
    return sizes[0], sizes[1], sizes[2]


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
