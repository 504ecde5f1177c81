"""What says that memory is refused, and what does not."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.errors import UserError
from jaxcv.refusals import refusal


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 7 PiB\nfor an array"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nmore"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_refused_memory_is_one_line_with_what_to_do(error):
    line = refusal(error)
    assert isinstance(line, UserError)
    assert "\n" not in str(line)
    assert str(line).startswith("there is not enough memory: ")
    assert "--batch-size" in str(line)


@pytest.mark.parametrize("error", [RuntimeError("INTERNAL: x"), ValueError("out of memory")])
def test_other_errors_stay_what_they_are(error):
    assert refusal(error) is None


@pytest.mark.parametrize("allocate", [np.ones, jnp.ones], ids=["NumPy", "XLA"])
def test_what_really_refuses_is_known(allocate):
    with pytest.raises(Exception, match=r".") as caught:
        allocate((1 << 55,), np.float32)
    assert refusal(caught.value) is not None
