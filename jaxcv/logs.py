"""What a run writes down while it trains: metrics.jsonl and TensorBoard's event files."""

import itertools
import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from jaxcv.errors import UserError
from jaxcv.files import read_bytes, to_json, write_bytes


def append_metrics(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record to a metrics file as one line of JSON.

    NaN and the infinities are written as null. A half-written last line, left by a run that was
    killed while writing, is removed first. The line has then left the process: only a crash of the
    whole machine can lose it.

    Args:
        path: metrics.jsonl; made when absent.
        record: field name to scalar.

    Raises:
        OSError: the disk is full or the place cannot be written.
    """
    line = json.dumps(to_json(record), allow_nan=False, ensure_ascii=False) + "\n"
    with open(path, "a+b") as file:
        _close_last_line(file)
        file.write(line.encode())
        file.flush()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of a metrics file, oldest first.

    An absent file holds none; a half-written last line is ignored, because a run may be writing it.

    Args:
        path: metrics.jsonl.

    Raises:
        UserError: the file cannot be read, or a line other than the last is no JSON object.
    """
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise UserError(f"{path}: line {number} is not a JSON object; remove or mend it")
    return records


def rewind_metrics(path: Path, epoch: int) -> None:
    """Drop the records after an epoch, in one step.

    A resumed run starts from a checkpoint and writes the later epochs again.

    Args:
        path: metrics.jsonl; nothing happens when it is absent.
        epoch: the last epoch to keep; 0 keeps none.

    Raises:
        UserError: the file cannot be read, or holds lines that are not records.
        OSError: the place cannot be written.
    """
    if path.exists():
        kept = [
            record
            for record in read_metrics(path)
            if isinstance(number := record.get("epoch", 0), int) and number <= epoch
        ]
        write_bytes(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept).encode())


class EventWriter:
    """TensorBoard event files in a directory.

    The messages are tensorboardX's; its writer is not used, because it hands them to a thread:
    there a full disk would block the training for good and a killed run lose what is queued.

    Example:
        >>> with EventWriter(workdir) as events:
        ...     events.scalars(step, {"train_loss": 1.5, "val_loss": 1.6})
    """

    def __init__(self, directory: Path, resumed_from: int | None = None):
        """Open a new event file.

        Args:
            directory: where TensorBoard will look; made when absent.
            resumed_from: the step of the checkpoint that this run goes on from; None for a fresh
                one. What an earlier run logged here after that step is hidden, so that no point
                shows twice.
        """
        directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a directory's files in the order of their names; the customary time in
        # the name would let two runs of one second share a file, and follows the clock back.
        taken = {path.name for path in directory.glob("events.*")}
        names = (f"events.out.tfevents.{n:06d}" for n in itertools.count(len(taken)))
        path = directory / next(name for name in names if name not in taken)
        self._file: BinaryIO = open(path, "xb")  # noqa: SIM115
        messages = _messages()
        self._write(messages.Event(file_version="brain.Event:2"))
        # Every START but a directory's first hides what was logged from its step on.
        start = messages.SessionLog(status=messages.SessionLog.START)
        self._write(messages.Event(step=int(resumed_from or 0) + 1, session_log=start))

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def scalars(self, step: int, record: Mapping[str, Any]) -> None:
        """Log each finite number of a record under its name, but for `epoch` and `step`.

        Args:
            step: training steps done.
            record: a line of metrics.jsonl.
        """
        from tensorboardX.summary import scalar

        for name, value in record.items():
            if name in ("epoch", "step") or isinstance(value, bool):
                continue
            if isinstance(value, int | float | np.number) and np.isfinite(value):
                self._summary(step, scalar(name, float(value)))

    def histograms(self, step: int, params: Mapping[str, Any]) -> None:
        """Log the distribution of each array of a nested dictionary.

        The array at `params["Conv_0"]["kernel"]` is shown as `Conv_0/kernel`. Values that are not
        finite are left out; so is an array without any that are.

        Args:
            step: training steps done.
            params: nested dictionaries of arrays, such as a model's parameters.
        """
        from tensorboardX.summary import histogram

        for name, array in _flatten(params):
            values = np.asarray(array).astype(np.float64).ravel()
            values = values[np.isfinite(values)]
            if values.size:
                self._summary(step, histogram(name, values, bins=64))

    def images(self, step: int, name: str, image: Path | np.ndarray) -> None:
        """Log a picture.

        Args:
            step: training steps done.
            name: what TensorBoard calls it.
            image: a PNG file, stored as it is, or uint8 pixels [height, width, channels] with one
                or three channels.

        Raises:
            ValueError: the file is no PNG, or the array not uint8 of that shape.
        """
        from tensorboardX.proto import summary_pb2

        messages: Any = summary_pb2
        png = _encode_png(image) if isinstance(image, np.ndarray) else Path(image).read_bytes()
        if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
            raise ValueError(f"{image} is not a PNG file")
        width, height = struct.unpack(">II", png[16:24])
        picture = messages.Summary.Image(
            height=height,
            width=width,
            colorspace={0: 1, 2: 3, 4: 2, 6: 4}.get(png[25], 3),  # channels, by PNG's colour type
            encoded_image_string=png,
        )
        value = messages.Summary.Value(tag=name, image=picture)
        self._summary(step, messages.Summary(value=[value]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _summary(self, step: int, summary: Any) -> None:
        self._write(_messages().Event(step=int(step), summary=summary))

    def _write(self, event: Any) -> None:
        """Append an event as a TFRecord: length, its checksum, the event, its checksum."""
        from tensorboardX.record_writer import masked_crc32c

        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._file.write(length + checks[0] + data + checks[1])
        self._file.flush()


def _messages() -> Any:
    """Return the module of the event messages."""
    from tensorboardX.proto import event_pb2

    return event_pb2


def _close_last_line(file: Any) -> None:
    """End the last line of a file opened for "a+b", or remove it when it is half a record."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    head, newline, tail = file.read().rpartition(b"\n")
    if _parse(tail) is None:
        file.truncate(len(head) + len(newline))
    else:
        file.write(b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the object on a line; None for anything else, so for every beginning of one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _encode_png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"expected uint8 [height, width, 1 or 3], got {pixels.dtype} {pixels.shape}"
        )
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    # The training waits for it: two thirds of the time, for a file a quarter larger.
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
