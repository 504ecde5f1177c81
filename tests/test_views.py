"""Averages over views of an image, counted by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.views import averaged


def weights(shape, rng):
    return rng.standard_normal((*shape[1:], 3))


def by_hand(images: np.ndarray, w: np.ndarray, views: str) -> np.ndarray:
    """Of logits that are linear in the image: each view listed with its weight."""

    def logits(image):
        return np.einsum("hwc,hwco->o", image, w)

    results = []
    for image in images:
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        height, width, _ = image.shape
        up_left = padded[2 : 2 + height, 2 : 2 + width]
        down_right = padded[:height, :width]
        listed = {
            "plain": [(1.0, image)],
            "mirror": [(0.5, image), (0.5, image[:, ::-1])],
            "mirror_shift": [
                (0.25, image),
                (0.25, image[:, ::-1]),
                *((0.125, s) for s in (up_left, down_right)),
                *((0.125, s[:, ::-1]) for s in (up_left, down_right)),
            ],
        }[views]
        assert sum(weight for weight, _ in listed) == 1
        results.append(sum(weight * logits(view) for weight, view in listed))
    return np.stack(results)


@pytest.mark.parametrize("views", ["plain", "mirror", "mirror_shift"])
def test_against_a_list_of_views(views, rng):
    images = rng.standard_normal((4, 5, 6, 2))
    w = weights(images.shape, rng)
    got = averaged(
        lambda x: jnp.einsum("nhwc,hwco->no", x, w), jnp.asarray(images, jnp.float32), views
    )
    np.testing.assert_allclose(got, by_hand(images, w, views), atol=1e-5)


def test_outputs_may_be_a_tree(rng):
    images = jnp.asarray(rng.standard_normal((2, 4, 4, 1)), jnp.float32)
    got = averaged(lambda x: {"sum": x.sum((1, 2, 3)), "left": x[:, 0, 0, 0]}, images, "mirror")
    np.testing.assert_allclose(got["sum"], images.sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(got["left"], (images[:, 0, 0, 0] + images[:, 0, -1, 0]) / 2)
