"""Which networks accept images of another size than they were trained on?

python experiments/image_size.py [--data cifar10] [--epochs 5]

A dense layer on the flattened feature map has weights for every pixel of it: its network accepts
one size. Global pooling gives as many numbers whatever the size: its network accepts any. Each
network is trained on images as they are, then given the test images shrunk and enlarged. That an
image is accepted does not mean that it is understood: the picture has the test accuracy by size.
"""

import numpy as np
from PIL import Image

from jaxcv import Adam, Experiment, load, models
from jaxcv.plots import against
from jaxcv.questions import Flags, ask, train

FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
NETWORKS = {
    "softmax regression": models.Softmax(),
    "MLP": models.MLP(features=(64,)),
    "CNN, flattened": models.CNN(features=(16, 16)),
    "CNN, global pooling": models.CNNGlobalPool(features=(16, 32, 32)),
    "ResNet-8": models.ResNet(depth=8),
}
VARIANTS = {
    name: Experiment(model=network, optimizer=Adam(learning_rate=2e-3), batch_size=32)
    for name, network in NETWORKS.items()
}


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """The images, shrunk or enlarged to side×side pixels."""
    pictures = (Image.fromarray(image.squeeze()).resize((side, side)) for image in images)
    return np.stack([np.asarray(picture).reshape(side, side, -1) for picture in pictures])


def answer(flags: Flags) -> None:
    from flax.errors import ScopeParamShapeError

    outcomes = train(VARIANTS, flags)
    data = flags.dataset()
    images, labels = data.images[data.test[:500]], data.labels[data.test[:500]]
    side = images.shape[1]
    sizes = np.array([round(factor * side) for factor in FACTORS])
    lines, width = {}, max(map(len, VARIANTS))
    print(f"\n{'accuracy by size':<{width}}", *(f"{size:>6}" for size in sizes))
    for name, outcome in outcomes.items():
        trained = load(outcome.workdir)
        accuracies = []
        for size in sizes:
            try:
                predicted = trained.predict(resized(images, size))
                accuracies.append(float((predicted.argmax(axis=-1) == labels).mean()))
            except ScopeParamShapeError:  # the dense kernel is of another size
                accuracies.append(float("nan"))
        lines[name] = np.array(accuracies)
        cells = ("     –" if np.isnan(a) else f"{a:6.3f}" for a in accuracies)
        print(f"{name:<{width}}", *cells)
    flags.show(against(sizes, lines, "pixels of a side", "test accuracy"))


if __name__ == "__main__":
    ask(answer, epochs=10)
