"""The convolutional network's forward pass in NumPy, on the parameters that Flax has trained.

python experiments/numpy_forward.py --data cifar10 --epochs 3

It trains the network of cnn.py, then computes the class probabilities of test images twice: by the
Flax network in the type it was trained in, and by `jaxcv.reference`, loops over windows in float64.
figures/numpy_forward.png in the workdir shows the first layer's activations of one image by either
and their difference. The mean squared difference of the probabilities must stay below 1e-10.
"""

import numpy as np

from jaxcv import Adam, Experiment, Result, load, main, models, reference
from jaxcv.data import load as load_data
from jaxcv.plots import save, side_by_side

IMAGES = 100
MAPS = 8
LARGEST = 1e-10

experiment = Experiment(
    model=models.CNN(features=(64, 64)), optimizer=Adam(learning_rate=1e-3), epochs=3
)


def compare(result: Result) -> None:
    trained = load(result.workdir)
    settings = trained.experiment
    data = load_data(settings.data, settings.data_dir, settings.data_seed, settings.validation)
    images = data.images[data.test[:IMAGES]]
    pixels = images * np.float64(trained.multiplier) - trained.offset

    by_flax = trained.predict(images)
    by_numpy = reference.predict_cnn(trained.params, pixels)
    difference = np.mean((by_flax - by_numpy) ** 2)
    verdict = "holds" if difference < LARGEST else "DOES NOT HOLD"
    print(f"{IMAGES} test images: mean squared difference {difference:.2e} < {LARGEST}: {verdict}")

    first = trained.params["Conv_0"]
    in_numpy = reference.conv_relu(pixels[:1], first["kernel"], first["bias"])[0, ..., :MAPS]
    in_flax = np.asarray(trained.intermediates(images[:1])["conv1"])[0, ..., :MAPS]
    rows = {
        "NumPy": in_numpy,
        "Flax": in_flax,
        f"difference, at most {np.abs(in_numpy - in_flax).max():.1e}": in_numpy - in_flax,
    }
    path = result.workdir / "figures" / "numpy_forward.png"
    save(side_by_side(images[0], {k: np.moveaxis(v, -1, 0) for k, v in rows.items()}), path)
    print(f"picture: {path}")
    if verdict != "holds":
        raise SystemExit(1)


if __name__ == "__main__":
    main(experiment, then=compare)
