"""One run on several devices: what lies where, and how several processes stay in step.

The state and the data set are copied to every device, the images of a step are shared out. The
program is the one of a single device: XLA adds what the devices must tell each other, so that
sums over the batch, those of batch normalisation too, are over the whole batch.
"""

import dataclasses
import functools
import inspect
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from jaxcv.constraints import Count
from jaxcv.device_data import DeviceData
from jaxcv.errors import UserError
from jaxcv.peers import several

Devices = Count | Literal["all"]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a run's arrays lie.

    Attributes:
        mesh: of the devices that share the batch; None for one device, JAX's default.
    """

    mesh: Mesh | None = None

    def copied(self, tree: PyTree) -> PyTree:
        """On every device, whole."""
        return tree if self.mesh is None else self._put(tree, PartitionSpec())

    def placed(self, data: DeviceData, batch_size: int) -> DeviceData:
        """The data set: whole on every device, but shared out where a batch is all of it."""
        if self.mesh is None:
            return data
        whole = batch_size == data.images.shape[0]
        images, labels = self._put(
            (data.images, data.labels), PartitionSpec("batch") if whole else PartitionSpec()
        )
        rest = self.copied((data.multiplier, data.offset))
        return DeviceData(images, labels, *rest)

    def compiled(self, function: Any, shared: bool = False) -> Any:
        """A compiled function of `jaxcv.training`, for arrays that lie so.

        Args:
            function: compiled for one device.
            shared: its result, an epoch's order, is to be shared out by batch; else it is whole on
                every device.
        """
        return function if self.mesh is None else _compiled(self.mesh, function, shared)

    def _put(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        assert self.mesh is not None
        sharding = NamedSharding(self.mesh, spec)

        def put(leaf: Any) -> Array:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
            host = np.asarray(leaf)
            return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

        return jax.tree.map(put, tree)


ONE = Placement()


def is_first() -> bool:
    """Whether this is the process that writes files: the first of a run's, mostly the only one."""
    return not several() or jax.process_index() == 0


def agreed(value: float) -> float:
    """The largest of the numbers that the processes of a run have: the same in each.

    Raises:
        RuntimeError: another process has ended.
    """
    if not several():
        return value
    from jax.experimental import multihost_utils

    # As words: JAX would round 64 bits to 32, and steps from 2^24 on with them.
    words = np.frombuffer(np.float64(value).tobytes(), np.uint32)
    gathered = np.ascontiguousarray(multihost_utils.process_allgather(words))
    return float(gathered.view(np.float64).max())


def is_common(value: float) -> bool:
    """Whether all processes of a run have the same number: the same answer in each.

    Raises:
        RuntimeError: another process has ended.
    """
    return agreed(value) == -agreed(-value)


def placement(devices: Devices, batch_size: int) -> Placement:
    """Where a run's arrays lie on so many devices.

    Args:
        devices: how many, of all processes; "all" that there are.
        batch_size: images a step, to be shared out evenly.

    Raises:
        UserError: there are not so many, or the batch cannot be shared out evenly.
    """
    there = jax.devices()
    count = len(there) if devices == "all" else devices
    if count > len(there):
        raise UserError(f"--devices {count}: only {len(there)} are here")
    if jax.process_count() > 1 and count < len(there):
        raise UserError(
            f"--devices {count}: {jax.process_count()} processes have {len(there)} devices, and "
            "none may be without work; --devices all takes them all"
        )
    if count == 1:
        return ONE
    if batch_size % count:
        raise UserError(
            f"--batch-size {batch_size} cannot be shared out evenly among {count} devices; choose "
            f"a multiple, such as {-(-batch_size // count) * count}"
        )
    mesh = jax.make_mesh((count,), ("batch",), (AxisType.Auto,), devices=there[:count])
    return Placement(mesh)


@functools.cache
def _compiled(mesh: Mesh, function: Any, shared: bool) -> Any:
    names = inspect.signature(function).parameters
    spec = PartitionSpec(None, "batch") if shared else PartitionSpec()
    return jax.jit(
        function.__wrapped__,
        static_argnames=[name for name in ("static", "batch_size") if name in names],
        donate_argnames=[name for name in ("state",) if name in names],
        out_shardings=NamedSharding(mesh, spec),
    )
