"""Memory that the machine refuses, as one line."""

from jaxcv.errors import UserError

_WORDS = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "bad_alloc")


def refusal(error: BaseException) -> UserError | None:
    """The line for an exception by which XLA, NumPy or Python say that there is no memory.

    Args:
        error: any exception; XLA's is known by what it says, so that JAX need not be imported.

    Returns:
        None where it says something else: it is a defect then, and keeps its traceback.
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError) and any(word in text for word in _WORDS)
    ):
        return None
    reason = (text.strip().splitlines() or ["no more can be allocated"])[0]
    return UserError(
        f"there is not enough memory: {reason[:200].rstrip('.')}; try a smaller --batch-size or a "
        "smaller network"
    )
