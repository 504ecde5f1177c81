"""Autoencoders side by side: one patch through each, and the features of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxcv import plots
from jaxcv.comparison import write_page
from jaxcv.data import load as load_data
from jaxcv.figures import first_kernel
from jaxcv.trained import load

if TYPE_CHECKING:
    from jaxcv.fitting import Result


def show_studies(workdir: Path, runs: Mapping[str, "Result"], title: str) -> None:
    """Writes comparison.html: costs, a held-out patch of most contrast through each, features.

    Args:
        workdir: of the comparison; the pictures go to its figures/.
        runs: name to finished run, each with patches held out, all the same.
        title: of the page.
    """
    directory = workdir / "figures"
    rows, columns, captions = {}, [], {}
    for name, result in runs.items():
        trained, record = load(result.workdir), result.record
        it = trained.experiment
        data = load_data(
            it.data, it.data_dir, it.data_seed, it.validation, it.data_file, it.data_key
        )
        # Most patches are nearly flat, and show nothing.
        out = data.images[data.validation]
        held = out[[out.std(axis=(1, 2, 3)).argmax()]]
        rows.setdefault("held-out patch", held)
        rows[name] = trained.predict(held)
        kernel = first_kernel(trained.params, data.image_shape)
        if kernel is not None:
            path = directory / f"features {name}.png"
            plots.save(plots.features(np.asarray(kernel), data.image_shape), path)
            captions[f"Features: {name}. Each scaled alone, the largest norm first."] = path
        error = float(np.sum(np.square(rows[name] - held)) / 2)
        columns.append(
            [name, f"{record['test_cost']:.4f}", f"{record['val_cost']:.4f}", f"{error:.4f}"]
        )
    path = directory / "held_patch.png"
    plots.save(plots.titled_images(rows), path)
    captions = {"One held-out patch, and what each network makes of it.": path} | captions
    head = ["run", "cost", "validation cost", "½ ‖x − x̂‖² of the held-out patch"]
    write_page(workdir / "comparison.html", title, captions, head, columns)
