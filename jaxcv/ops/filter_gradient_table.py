"""Which form of the filter gradient for which shape on CPU: the choice, and why.

Processor milliseconds (both cores, halved) in a ``fori_loop``, 128 images, float32, less those of a
pass over dy; all forms of a row in turn in one run. "Parts" are convolutions of some images at a
time; the last column is what the multiplications take at the rate of a large matrix product.

==================  ====  ===========  =========  ============  =====  =====
x → features        size  product per  product    one           parts  ideal
                          element      of im2col  convolution
==================  ====  ===========  =========  ============  =====  =====
32×32×3→64          3×3   31           7.7        16            3.7    2.3
16×16×64→64         3×3   68           75         59            14.5   12.1
32×32×16→16         3×3   40           66         20            11     3.0
16×16×32→32         3×3   13           18         15            4.3    3.0
8×8×64→64           3×3   11.5         9.3        7.8           3.8    3.0
32×32×16→32, by 2   3×3   6.9          5.6        14            3.8    1.5
16×16×64→64, by 2   3×3   13           10         11            5.5    3.0
31×31×24→64         2×2   41           44         94            22     7.6
15×15×64→256        2×2   47           42         235           46     19
7×7×256→256         2×2   24           33         43            29     16
16×16×64→64         1×1   5.1          4.9        38            7.1    1.3
8×8×256→256         1×1   8.1          8.3        33            18     5.4
==================  ====  ===========  =========  ============  =====  =====

Hence a product for kernels of one element, and parts for all others.

A convolution whose output is so small (features by kernel elements) runs on one core where it has
17 to 64 features; with fewer XLA:CPU splits the sum, with more the features. Parts that stand side
by side in the program, rather than in a loop, run on as many cores if there are eight or more: less
than that XLA:CPU does not share out. Milliseconds of wall time on two cores, 128 images, 3×3, eight
parts abreast against a loop: 16×16×64→64 30 against 40, 8×8×64→64 7.4 against 10.5; training steps
of whole networks: cnn 101 against 122, cnn_global_pool 58 against 71. Sixteen parts gain a little
more than eight (32×32×3→64: 6.1 against 6.9). Networks with 16 or 32 features in a layer lose what
the layer gains (32×32×16→16 by sixteen abreast: 6.4 against 10.6, but a step of ResNet-20 a tenth
more): the other core has the gradient of the layer's input to compute meanwhile.
"""

import math
from typing import NamedTuple

_PANEL = 2**20
"""Elements of a packed panel of patches that stay in a second-level cache of some megabytes."""

WHOLE = 0
"""One matrix product over the whole batch."""

_ABREAST = range(8, 33)
"""How many parts may stand side by side: fewer share one core, more compile for long."""

_WANTED = 16
"""Parts abreast from which more gain nothing."""

_ONE_CORE = range(33, 65)
"""Features with which parts abreast gain by using the core that XLA:CPU leaves idle."""


class Form(NamedTuple):
    """How the gradient of a kernel is computed: ``images`` at a time, or WHOLE."""

    images: int
    abreast: bool = False


def filter_form(x: tuple[int, ...], dy: tuple[int, ...], window: tuple[int, int]) -> Form:
    """Returns how many images each convolution takes, and whether they stand side by side.

    Args:
        x: shape of the input, (batch, height, width, channels).
        dy: shape of the output's gradient, (batch, height, width, features).
        window: rows and columns of the kernel.
    """
    if window == (1, 1):
        return Form(WHOLE)
    batch, positions = x[0], dy[1] * dy[2]
    wanted = _PANEL // (positions * max(math.prod(window) * x[3], 4 * dy[3]))
    images = _divisor(batch, wanted)
    counts = [n for n in _ABREAST if batch % n == 0]
    count = min((n for n in counts if n >= _WANTED), default=max(counts, default=batch))
    wider = batch // count
    if dy[3] in _ONE_CORE and count in _ABREAST and wider <= 4 * images:
        return Form(wider, abreast=True)
    return Form(images)


def _divisor(batch: int, most: int) -> int:
    """The largest number up to ``most`` that divides the batch."""
    return max((n for n in range(1, min(batch, most) + 1) if batch % n == 0), default=1)
