"""Augmentation: what may change, what must stay, and that each image has its own draw."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcv.augment import (
    AlternatingFlip,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    ReflectedTranslation,
)
from jaxcv.experiment import EpochAugmentation

TRANSFORMATIONS = [
    RandomTranslation(3),
    ReflectedTranslation(3),
    RandomFlip(),
    AlternatingFlip(),
    RandomRotation(20.0),
]


@pytest.fixture
def images(rng: np.random.Generator) -> jax.Array:
    return jnp.asarray(rng.normal(size=(64, 12, 10, 3)), jnp.float32)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: type(t).__name__)
def test_same_key_same_images_other_key_others(transformation, images: jax.Array) -> None:
    once = transformation(jax.random.key(1), images)
    chex.assert_trees_all_equal(once, transformation(jax.random.key(1), images))
    chex.assert_shape(once, images.shape)
    assert once.dtype == images.dtype
    assert not np.array_equal(once, transformation(jax.random.key(2), images))


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: type(t).__name__)
def test_each_image_has_a_draw_of_its_own(transformation, images: jax.Array) -> None:
    alike = jnp.broadcast_to(images[:1], images.shape)
    turned = np.asarray(transformation(jax.random.key(0), alike))
    assert len({image.tobytes() for image in turned}) > 1


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: type(t).__name__)
def test_compiled_equals_eager(transformation, images: jax.Array) -> None:
    key = jax.random.key(3)
    compiled = jax.jit(transformation)(key, images)
    chex.assert_trees_all_close(compiled, transformation(key, images), atol=2e-5)


@pytest.mark.parametrize(
    ("translation", "mode"),
    [(RandomTranslation(3), "constant"), (ReflectedTranslation(3), "reflect")],
)
def test_translation_moves_by_whole_pixels(translation, mode, images: jax.Array) -> None:
    """What comes in is zeros, or what lies inside of the border."""
    moved = np.asarray(translation(jax.random.key(0), images))
    padded = np.pad(np.asarray(images), ((0, 0), (3, 3), (3, 3), (0, 0)), mode=mode)
    seen = set()
    for before, after in zip(padded, moved, strict=True):
        shifts = [
            (i, j)
            for i in range(7)
            for j in range(7)
            if np.array_equal(before[i : i + 12, j : j + 10], after)
        ]
        assert len(shifts) == 1
        seen.add(shifts[0])
    assert {i for i, _ in seen} == set(range(7))
    assert {j for _, j in seen} == set(range(7))


def test_translation_by_nothing_is_the_identity(images: jax.Array) -> None:
    chex.assert_trees_all_equal(RandomTranslation(0)(jax.random.key(0), images), images)


def test_flip_mirrors_about_half(images: jax.Array) -> None:
    many = jnp.tile(images, (16, 1, 1, 1))
    flipped = np.asarray(RandomFlip()(jax.random.key(0), many))
    mirrored = np.all(flipped == np.asarray(many)[:, :, ::-1], axis=(1, 2, 3))
    kept = np.all(flipped == np.asarray(many), axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    # Five standard deviations of a fair coin thrown 1,024 times.
    assert abs(mirrored.sum() - 512) < 5 * 16


def test_rotation_is_scipys(images: jax.Array) -> None:
    largest = 30.0
    key = jax.random.key(5)
    turned = np.asarray(RandomRotation(largest)(key, images))
    degrees = largest * np.asarray(jax.random.uniform(key, (64,), jnp.float32, -1, 1))
    for image, angle, result in list(zip(np.asarray(images), degrees, turned, strict=True))[:8]:
        expected = ndimage.rotate(
            image.astype(np.float64), angle, (0, 1), reshape=False, order=1, mode="constant"
        )
        # Away from the border, where the two differ in how they fade to zero.
        inner = np.s_[3:-3, 3:-3]
        np.testing.assert_allclose(result[inner], expected[inner], atol=1e-4)


def test_rotation_angle_may_be_traced(images: jax.Array) -> None:
    @jax.jit
    @chex.assert_max_traces(1)
    def rotate(angle: jax.Array) -> jax.Array:
        turn = dataclasses.replace(RandomRotation(), rotation=angle)
        return turn(jax.random.key(0), images)

    chex.assert_trees_all_close(rotate(jnp.float32(0.0)), images, atol=1e-6)
    assert not np.allclose(rotate(jnp.float32(45.0)), images, atol=0.1)


def mirrored(before: jax.Array, after: jax.Array) -> np.ndarray:
    """Which images are mirrored; each is that or as it was."""
    one, other = np.asarray(before), np.asarray(after)
    turned = np.all(other == one[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(turned ^ np.all(other == one, axis=(1, 2, 3)))
    return turned


def test_alternating_flip_shows_the_other_side_in_every_other_epoch(images: jax.Array) -> None:
    flip = AlternatingFlip()
    assert isinstance(flip, EpochAugmentation)
    assert not isinstance(RandomFlip(), EpochAugmentation)
    many, index = jnp.tile(images, (16, 1, 1, 1)), jnp.arange(1024)
    key = jax.random.key(0)
    by_epoch = [
        mirrored(many, flip.in_epoch(key, many, index, jnp.int32(epoch))) for epoch in range(4)
    ]
    np.testing.assert_array_equal(by_epoch[0], ~by_epoch[1])
    np.testing.assert_array_equal(by_epoch[0], by_epoch[2])
    np.testing.assert_array_equal(by_epoch[1], by_epoch[3])
    # Five standard deviations of a fair coin thrown 1,024 times.
    assert abs(by_epoch[0].sum() - 512) < 5 * 16
    # The coin is the image's own, wherever it stands in a batch.
    backwards = mirrored(many, flip.in_epoch(key, many, index[::-1], jnp.int32(0)))
    np.testing.assert_array_equal(backwards, by_epoch[0][::-1])
    other = mirrored(many, flip.in_epoch(jax.random.key(1), many, index, jnp.int32(0)))
    assert (other != by_epoch[0]).any()
