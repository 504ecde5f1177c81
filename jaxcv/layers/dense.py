"""Dense layers: products with kernels that are learnt."""

import functools

from flax import linen as nn

from jaxcv import ops

Dense = functools.partial(nn.Dense, dot_general=ops.dot_general)
"""Makes a ``nn.Dense`` whose kernel's gradient is fast on CPU (`jaxcv.ops.dot_general`)."""
