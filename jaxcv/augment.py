"""Random transformations of a batch of training images: on the device, batched, keyed.

Each is a frozen value called as `transformation(key, images)`; every image has a draw of its own.
Images come normalised, so the zeros that fill in are the mean training pixel.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcv.constraints import Index, Range

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class RandomTranslation:
    """Shifts each image by whole pixels, up to `translation` in each direction; zeros fill in.

    Attributes:
        translation: largest shift along either axis, in pixels
    """

    translation: Index = 4

    def __call__(self, key: PRNGKeyArray, images: Images) -> Images:
        """The shifted images."""
        return _cropped(key, jnp.pad(images, _around(self.translation)), images.shape)


@dataclasses.dataclass(frozen=True)
class ReflectedTranslation:
    """Shifts each image by whole pixels, up to `translation` each way; its mirror image fills in.

    The border itself is not repeated: what comes in is the pixels next to it, outwards.

    Attributes:
        translation: largest shift along either axis, in pixels
    """

    translation: Index = 2

    def __call__(self, key: PRNGKeyArray, images: Images) -> Images:
        """The shifted images."""
        padded = jnp.pad(images, _around(self.translation), mode="reflect")
        return _cropped(key, padded, images.shape)


def _around(pixels: int) -> tuple[tuple[int, int], ...]:
    return ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))


def _cropped(
    key: PRNGKeyArray,
    padded: Float[Array, "batch _height _width channels"],
    shape: tuple[int, ...],
) -> Images:
    """A window of the shape from each image, anywhere."""
    batch, height, width, channels = shape
    starts = jax.random.randint(key, (batch, 2), 0, padded.shape[1] - height + 1)
    return jax.vmap(
        lambda image, start: jax.lax.dynamic_slice(
            image, (start[0], start[1], 0), (height, width, channels)
        )
    )(padded, starts)


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Mirrors each image left to right with probability ½."""

    def __call__(self, key: PRNGKeyArray, images: Images) -> Images:
        """The images, about half of them mirrored."""
        mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
        return jnp.where(mirrored, images[:, :, ::-1], images)


@dataclasses.dataclass(frozen=True)
class AlternatingFlip(RandomFlip):
    """Mirrors an image in every other epoch; a coin thrown once for each decides in which.

    Two epochs in a row show both sides of every image, where independent flips would show the same
    side twice in half of the cases (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single
    GPU", section 3.6). Called without an epoch it is a random flip.
    """

    def in_epoch(
        self,
        key: PRNGKeyArray,
        images: Images,
        index: Int[Array, " batch"],
        epoch: Int[Array, ""],
    ) -> Images:
        """The images, those mirrored whose turn it is.

        Args:
            key: the same throughout a run.
            images: a batch.
            index: of each image in the data set: its coin depends on key and index alone.
            epoch: from 0.
        """
        coins = jax.vmap(lambda i: jax.random.bernoulli(jax.random.fold_in(key, i)))(index)
        mirrored = (coins ^ (epoch % 2 == 1))[:, None, None, None]
        return jnp.where(mirrored, images[:, :, ::-1], images)


@dataclasses.dataclass(frozen=True)
class RandomRotation:
    """Turns each image about its centre by an angle drawn evenly; bilinear, zeros fill in.

    Attributes:
        rotation: largest angle either way, in degrees
    """

    rotation: Annotated[float, Range(0, 180)] = 10.0

    def __call__(self, key: PRNGKeyArray, images: Images) -> Images:
        """The turned images."""
        batch, height, width, _ = images.shape
        angles = jax.random.uniform(key, (batch,), images.dtype, -1, 1) * jnp.radians(self.rotation)
        rows, columns = jnp.meshgrid(
            jnp.arange(height) - (height - 1) / 2,
            jnp.arange(width) - (width - 1) / 2,
            indexing="ij",
        )

        def turned(
            image: Float[Array, "height width channels"], angle: Float[Array, ""]
        ) -> Float[Array, "height width channels"]:
            cosine, sine = jnp.cos(angle), jnp.sin(angle)
            # Where each pixel of the result comes from: turned back by the angle.
            sources = [
                cosine * rows + sine * columns + (height - 1) / 2,
                cosine * columns - sine * rows + (width - 1) / 2,
            ]
            plane = jax.vmap(lambda x: map_coordinates(x, sources, order=1), -1, -1)
            return plane(image).astype(image.dtype)

        return jax.vmap(turned)(images, angles)
