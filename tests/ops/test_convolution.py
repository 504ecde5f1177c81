import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxcv import ops, reference


def whole(rng: np.random.Generator, *shape: int) -> jax.Array:
    """Small whole numbers, which float32 adds exactly."""
    return jnp.asarray(rng.integers(-3, 4, shape), jnp.float32)


@pytest.mark.parametrize(
    ("stride", "padding"), [((1, 1), "SAME"), ((2, 2), "SAME"), ((2, 1), "VALID"), (2, 1)]
)
def test_flax_convolution_is_the_same_with_ours(rng, stride, padding):
    x = whole(rng, 2, 7, 6, 3)
    plain = nn.Conv(4, (3, 2), strides=stride, padding=padding)
    params = plain.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: whole(rng, *p.shape), params)
    ours = plain.clone(conv_general_dilated=ops.conv_general_dilated)

    def gradients(layer):
        return jax.grad(lambda p, x: jnp.sum(layer.apply(p, x) ** 2), (0, 1))(params, x)

    np.testing.assert_array_equal(ours.apply(params, x), plain.apply(params, x))
    jax.tree.map(np.testing.assert_array_equal, gradients(ours), gradients(plain))
    # Flax says that nothing is dilated: our gradients are for it all the same.
    assert "custom_vjp" in str(jax.make_jaxpr(ours.apply)(params, x))
    assert "custom_vjp" not in str(jax.make_jaxpr(plain.apply)(params, x))


@pytest.mark.parametrize(
    "options",
    [
        {"feature_group_count": 3},
        {"rhs_dilation": (2, 1)},
        {"lhs_dilation": (1, 2), "padding": ((1, 1), (1, 1))},
        {"lhs_dilation": (2, 2), "rhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))},
        {"padding": ((-1, 0), (0, 0))},
    ],
    ids=" ".join,
)
def test_what_is_no_plain_convolution_is_handed_to_lax(rng, options):
    groups = options.get("feature_group_count", 1)
    x, kernel = whole(rng, 2, 6, 7, 3), whole(rng, 2, 3, 3 // groups, 3)
    arguments = {"padding": "VALID", "dimension_numbers": ("NHWC", "HWIO", "NHWC"), **options}

    def gradients(convolution):
        def loss(x, kernel):
            return jnp.sum(convolution(x, kernel, (1, 1), **arguments) ** 2)

        return jax.value_and_grad(loss, (0, 1))(x, kernel)

    ours, plain = gradients(ops.conv_general_dilated), gradients(lax.conv_general_dilated)
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


def test_other_layouts_ranks_and_result_types_are_handed_to_lax(rng):
    x, kernel = whole(rng, 2, 3, 5, 5), whole(rng, 4, 3, 2, 2)
    np.testing.assert_array_equal(
        ops.conv_general_dilated(x, kernel, (1, 1), "VALID"),
        lax.conv_general_dilated(x, kernel, (1, 1), "VALID"),
    )
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    wide = ops.conv_general_dilated(x, kernel, (1, 1), "VALID", preferred_element_type=jnp.float32)
    assert wide.dtype == jnp.float32
    x, kernel = x.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0)
    numbers = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "preferred_element_type": jnp.float32}
    wide = ops.conv_general_dilated(x, kernel, (1, 1), "VALID", **numbers)
    assert wide.dtype == jnp.float32
    line, taps = whole(rng, 2, 9, 3), whole(rng, 3, 3, 2)
    layer = nn.Conv(2, 3, use_bias=False, conv_general_dilated=ops.conv_general_dilated)
    params = {"params": {"kernel": taps}}
    expected = nn.Conv(2, 3, use_bias=False).apply(params, line)
    np.testing.assert_array_equal(layer.apply(params, line), expected)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_lanes_over_inputs_kernels_or_both(rng, in_axes):
    lanes = 3
    x = whole(rng, *([lanes] if in_axes[0] == 0 else []), 2, 5, 4, 2)
    kernel = whole(rng, *([lanes] if in_axes[1] == 0 else []), 3, 3, 2, 3)

    def gradients(x, kernel):
        return jax.grad(lambda x, k: jnp.sum(ops.conv2d(x, k, stride=2) ** 2), (0, 1))(x, kernel)

    dxs, dkernels = jax.jit(jax.vmap(gradients, in_axes))(x, kernel)
    for lane in range(lanes):
        one_x = x[lane] if in_axes[0] == 0 else x
        one_kernel = kernel[lane] if in_axes[1] == 0 else kernel
        y = reference.conv2d(one_x, one_kernel, stride=2)
        dx, dkernel, _ = reference.conv2d_backward(2 * y, one_x, one_kernel, stride=2)
        np.testing.assert_array_equal(dxs[lane], dx)
        np.testing.assert_array_equal(dkernels[lane], dkernel)


def test_gradient_of_a_gradient(rng):
    x, kernel = whole(rng, 2, 4, 4, 2), whole(rng, 3, 3, 2, 2)

    def twice(convolution):
        def inner(kernel):
            return jnp.sum(jax.grad(lambda x: jnp.sum(convolution(x, kernel) ** 2))(x) ** 2)

        return jax.grad(inner)(kernel)

    def plain(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)

    np.testing.assert_array_equal(twice(ops.conv2d), twice(plain))


def test_numpy_arrays_are_taken_as_they_are(rng):
    x, kernel = rng.integers(-3, 4, (1, 4, 4, 2)), rng.integers(-3, 4, (2, 2, 2, 3))
    result = ops.conv2d(x.astype(np.float32), kernel.astype(np.float32), padding="valid")
    np.testing.assert_array_equal(result, reference.conv2d(x, kernel, padding="valid"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_type_is_kept_forward_and_backward(dtype):
    x, kernel = jnp.ones((2, 4, 4, 2), dtype), jnp.ones((3, 3, 2, 3), dtype)
    y, pull = jax.vjp(ops.conv2d, x, kernel)
    assert {y.dtype, *(g.dtype for g in pull(y))} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    ("x", "kernel", "options", "words"),
    [
        ((0, 4, 4, 2), (3, 3, 2, 3), {}, "must not be empty"),
        ((2, 4, 4, 2), (3, 3, 2, 0), {}, "must not be empty"),
        ((2, 4, 4, 2), (5, 3, 2, 3), {"padding": "valid"}, "does not fit"),
        ((2, 4, 4, 2), (3, 3, 2, 3), {"padding": "full"}, '"full"'),
        ((2, 4, 4, 2), (3, 3, 2, 3), {"padding": -1}, "negative"),
        ((2, 4, 4, 2), (3, 3, 2, 3), {"padding": ((1, 1),)}, r"\(\(top, bottom\)"),
        ((2, 4, 4, 2), (3, 3, 2, 3), {"stride": 0}, "stride"),
        ((2, 4, 4, 2), (3, 3, 2, 3), {"stride": (1, 1, 1)}, "stride"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(x, kernel, options, words):
    with pytest.raises(ValueError, match=words) as refused:
        ops.conv2d(jnp.zeros(x), jnp.zeros(kernel), **options)
    assert "\n" not in str(refused.value)


def test_the_drop_in_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="empty"):
        ops.conv_general_dilated(
            jnp.zeros((0, 2, 2, 1)),
            jnp.zeros((1, 1, 1, 1)),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_gradient_of_a_bias_of_16_bits_is_added_up_in_more(dtype):
    x, kernel, bias = (jnp.ones(shape, dtype) for shape in ((8, 32, 32, 2), (3, 3, 2, 4), 4))

    def total(bias):
        return jnp.sum(ops.conv2d(x, kernel, bias).astype(jnp.float32))

    for gradient in (jax.grad(total), jax.jit(jax.grad(total))):
        np.testing.assert_array_equal(gradient(bias).astype(np.float32), 8 * 32 * 32)
