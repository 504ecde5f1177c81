"""Augmentation: what may change, what must stay, and that each image has its own draw."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcv.augment import RandomFlip, RandomRotation, RandomTranslation

TRANSFORMATIONS = [RandomTranslation(3), RandomFlip(), RandomRotation(20.0)]


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


def test_translation_moves_by_whole_pixels_and_fills_with_zeros(images: jax.Array) -> None:
    moved = np.asarray(RandomTranslation(3)(jax.random.key(0), images))
    padded = np.pad(np.asarray(images), ((0, 0), (3, 3), (3, 3), (0, 0)))
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
