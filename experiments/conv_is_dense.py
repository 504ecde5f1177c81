"""Is a convolution a dense layer, and a dense layer a convolution?

python experiments/conv_is_dense.py

Every convolution is: its matrix, built column by column from images with one pixel lit, gives the
same outputs. The matrix is mostly zero (each output sees one window) and repeats the few numbers of
the kernel along its diagonals (every window has the same weights).

The reverse holds too, for images of one size: a dense layer is a 'valid' convolution whose window
is the whole image, one feature for each output, and 1×1 pixels of result. A convolution with a
smaller window it is only if its matrix has that pattern: the nearest convolution to a random matrix
misses nearly all of it.

Nothing is trained; --epochs changes nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import ops
from jaxcv.plots import panels
from jaxcv.questions import Flags, ask

SIZE, WINDOW = 8, 3


def matrix_of(kernel: np.ndarray) -> np.ndarray:
    """The dense matrix, (inputs, outputs), of a 'same' convolution on SIZE×SIZE images."""
    channels = kernel.shape[2]
    inputs = SIZE * SIZE * channels
    lit = jnp.eye(inputs, dtype=kernel.dtype).reshape(inputs, SIZE, SIZE, channels)
    return np.asarray(ops.conv2d(lit, kernel)).reshape(inputs, -1)


def nearest_kernel(matrix: np.ndarray) -> np.ndarray:
    """The WINDOW×WINDOW kernel, one channel each, whose matrix is nearest to a given one.

    The matrices of the kernels with a single 1 are orthogonal: each number of the nearest kernel is
    the mean of the matrix over the places where that number stands.
    """
    kernel = np.zeros((WINDOW, WINDOW, 1, 1), matrix.dtype)
    for i, j in np.ndindex(WINDOW, WINDOW):
        single = np.zeros_like(kernel)
        single[i, j] = 1
        places = matrix_of(single)
        kernel[i, j] = (matrix * places).sum() / places.sum()
    return kernel


def answer(flags: Flags) -> None:
    rng = np.random.default_rng(flags.seed)
    kernel = rng.normal(size=(WINDOW, WINDOW, 1, 1)).astype(np.float32)
    images = rng.normal(size=(16, SIZE, SIZE, 1)).astype(np.float32)

    matrix = matrix_of(kernel)
    by_convolution = np.asarray(ops.conv2d(images, kernel)).reshape(16, -1)
    difference = np.abs(by_convolution - images.reshape(16, -1) @ matrix).max()
    zeros = (matrix == 0).mean()
    print(f"convolution as a dense layer: largest difference {difference:.1e}")
    print(f"  its matrix has {matrix.size:,} entries: {zeros:.0%} zero, and {kernel.size} weights")

    dense = rng.normal(size=(SIZE * SIZE, 10)).astype(np.float32)
    as_kernel = dense.reshape(SIZE, SIZE, 1, 10)
    by_window = np.asarray(ops.conv2d(images, as_kernel, padding="valid")).reshape(16, 10)
    difference = np.abs(by_window - images.reshape(16, -1) @ dense).max()
    print(f"dense layer as a convolution with a {SIZE}×{SIZE} window: {difference:.1e}")

    random = rng.normal(size=matrix.shape).astype(np.float32)
    nearest = matrix_of(nearest_kernel(random))
    missed = np.linalg.norm(random - nearest) ** 2 / np.linalg.norm(random) ** 2
    print(f"a random {SIZE * SIZE}×{SIZE * SIZE} matrix as a 3×3 convolution: {missed:.1%} missed")
    recovered = np.abs(nearest_kernel(matrix) - kernel).max()
    print(f"the kernel read back off its own matrix: largest difference {recovered:.1e}")

    pictures = {
        "a 3×3 kernel": kernel[..., 0, 0],
        "its matrix on 8×8 images": matrix,
        "a random matrix": random,
        "the nearest convolution's": nearest,
    }
    flags.show(panels(pictures, columns=4, signed=True))


if __name__ == "__main__":
    with jax.default_matmul_precision("highest"):
        ask(answer, epochs=1)
