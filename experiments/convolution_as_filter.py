"""What does a convolution see? Grey-scale and horizontal edges of two photographs.

python experiments/convolution_as_filter.py

One 3×3×3×2 kernel: its first feature weighs the colours to a grey image and looks at the middle
pixel alone, its second is Sobel's, the blue channel's difference between the rows above and below.
The compiled operation and the loops of `jaxcv.reference` give the same.

What deep learning calls a convolution is a cross-correlation: the kernel is not turned by 180°. A
true convolution with the turned kernel is the same thing, so a network loses nothing by it: it
learns the turned kernel. Only for a kernel that is given beforehand does it matter: here the edges
change their sign.

The photographs (public domain and CC0) are scikit-image's. Nothing is trained; --epochs changes
nothing.
"""

import numpy as np

from jaxcv import UserError, ops, reference
from jaxcv.plots import panels
from jaxcv.questions import Flags, ask

SIZE = 200
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright the eye finds red, green and blue
SOBEL = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))


def photographs() -> dict[str, np.ndarray]:
    """Square middles of two photographs, SIZE×SIZE×3, in [0, 1]."""
    try:
        from skimage import data
    except ImportError:
        raise UserError(
            "the photographs are scikit-image's: pip install 'jaxcv[autoencoder]'"
        ) from None
    images = {}
    for name, image in (("cat", data.chelsea()), ("coffee", data.coffee())):
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        rows = np.linspace(0, side - 1, SIZE).round().astype(int)
        square = image[top : top + side, left : left + side]
        images[name] = square[rows][:, rows].astype(np.float32) / 255
    return images


def kernel() -> np.ndarray:
    """(3, 3, 3, 2): a grey image, and the horizontal edges of the blue channel."""
    weights = np.zeros((3, 3, 3, 2), np.float32)
    weights[1, 1, :, 0] = GREY
    weights[:, :, 2, 1] = SOBEL
    return weights


def shown(values: np.ndarray) -> np.ndarray:
    """A map as a grey image, its least value black and its greatest white."""
    scaled = (values - values.min()) / np.ptp(values)
    return np.repeat(scaled[..., None], 3, axis=-1)


def answer(flags: Flags) -> None:
    weights, bias = kernel(), np.array([0, 0.5], np.float32)
    turned = np.ascontiguousarray(weights[::-1, ::-1])
    pictures = {}
    for name, image in photographs().items():
        by_op = np.asarray(ops.conv2d(image[None], weights, bias))[0]
        by_loops = reference.conv2d(image[None], weights, bias)[0]
        difference = np.abs(by_op - by_loops).max()
        print(f"{name}: the operation and the reference differ by at most {difference:.1e}")
        true = np.asarray(ops.conv2d(image[None], turned, bias))[0]
        mirrored = np.abs((true[..., 1] - 0.5) + (by_op[..., 1] - 0.5)).max()
        print(f"  edges by true convolution are the negative, within {mirrored:.1e}")
        pictures |= {
            name: image,
            f"{name}: grey": shown(by_op[..., 0]),
            f"{name}: edges": shown(by_op[..., 1]),
            f"{name}: true convolution": shown(true[..., 1]),
        }
    flags.show(panels(pictures, columns=4))


if __name__ == "__main__":
    ask(answer, epochs=1)
