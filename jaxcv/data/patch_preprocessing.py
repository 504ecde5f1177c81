"""From colour patches to what a sigmoid can reproduce: grey, without mean, clipped, in [0.1, 0.9].

The steps of EEE443/543's third assignment (2019), as pure functions on float64.
"""

import numpy as np
from jaxtyping import Float, Float32, Real

from jaxcv.errors import UserError

LOW, HIGH = 0.1, 0.9
_LUMINOSITY = (0.2126, 0.7152, 0.0722)  # of linear red, green and blue (ITU-R BT.709)
_DEVIATIONS = 3.0
# Rounding leaves a constant image that much of its size, and no picture so little.
_FLAT = 1e-9

Grey = Float[np.ndarray, "n height width"]


def luminosity(images: Real[np.ndarray, "n height width channels"]) -> Grey:
    """0.2126 R + 0.7152 G + 0.0722 B; the one channel of grey images as it is.

    Raises:
        UserError: neither one nor three channels.
    """
    if images.shape[-1] == 1:
        return images[..., 0].astype(np.float64)
    if images.shape[-1] != 3:
        raise UserError(f"images must have 1 or 3 channels, not {images.shape[-1]}")
    return images.astype(np.float64) @ np.array(_LUMINOSITY)


def without_mean(images: Grey) -> Grey:
    """Each image minus its own mean."""
    return images - images.mean(axis=(1, 2), keepdims=True)


def clipped(images: Grey) -> Grey:
    """Cut at ± 3 standard deviations of all pixels of all images together."""
    limit = _DEVIATIONS * images.std()
    return np.clip(images, -limit, limit)


def rescaled(images: Grey) -> Grey:
    """Mapped linearly so that the least pixel of all is 0.1 and the greatest 0.9."""
    low, high = images.min(), images.max()
    return np.clip(LOW + (HIGH - LOW) * ((images - low) / (high - low)), LOW, HIGH)


def preprocess(
    images: Real[np.ndarray, "n height width channels"],
) -> Float32[np.ndarray, "n height width 1"]:
    """All steps in order: luminosity, own mean, clipping, [0.1, 0.9].

    Args:
        images: colour or grey, in any scale.

    Raises:
        UserError: every image is of one colour, so that there is nothing to scale.

    Example:
        >>> patches = preprocess(np.arange(24.0).reshape(2, 2, 2, 3))
        >>> float(patches.min()), float(patches.max())
        (0.10000000149011612, 0.8999999761581421)
    """
    grey = luminosity(images)
    level = without_mean(grey)
    if level.std() <= _FLAT * np.abs(grey).max():
        raise UserError("every patch is of one colour: nothing is left when its mean is taken away")
    return rescaled(clipped(level)).astype(np.float32)[..., np.newaxis]
