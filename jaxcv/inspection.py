"""What a network is made of: a row a layer, read off the program that it computes.

The network is traced on one image, in evaluation mode, and never run. Each equation of the traced
program belongs to the innermost module in whose scope it was written; how far each value looks into
the image follows from the equations alone (Dumoulin & Visin 2016, "A guide to convolution
arithmetic"). So any network can be inspected, whatever it is written with.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn


class Field(NamedTuple):
    """How far one value of a feature map looks along one axis of the image.

    Attributes:
        size: pixels of the receptive field, borders of the image left out of account
        stride: pixels between the fields of neighbouring values
    """

    size: int = 1
    stride: int = 1

    def seen_through(self, window: int, stride: int = 1, dilation: int = 1) -> "Field":
        """The field of a window over values with this field."""
        return Field(self.size + (window - 1) * dilation * self.stride, self.stride * stride)


class View(NamedTuple):
    """What a value sees: a field an axis while it is a feature map, else the whole image."""

    rows: Field
    columns: Field
    whole: bool = False


class Layer(NamedTuple):
    """A row of the table.

    Attributes:
        name: path of the module, or the operation outside of any layer
        output_shape: without the batch
        parameters: trainable numbers
        receptive_field: rows and columns of the image that an output depends on
        stride: pixels between the receptive fields of neighbouring outputs; None where the output
            is no feature map
        multiply_adds: of convolutions and matrix products, for one image
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    receptive_field: tuple[int, int]
    stride: tuple[int, int] | None
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A network's layers in the order computed, and their sums.

    Attributes:
        input_shape: height, width and channels of an image
        layers: one for each module with parameters or statistics, and each pooling
        parameters: trainable numbers of the whole network
        multiply_adds: of one forward pass of one image
    """

    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int


def inspect(model: nn.Module, input_shape: tuple[int, int, int] = (32, 32, 3)) -> Inspection:
    """The layers of a network on images of a shape.

    Args:
        model: called as `model(images, train=False)`.
        input_shape: height, width and channels.

    Raises:
        UserError: the network takes no such images.

    Example:
        >>> from jaxcv import models
        >>> [row.receptive_field for row in inspect(models.CNN()).layers]
        [(3, 3), (4, 4), (8, 8), (10, 10), (32, 32)]
    """
    image = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), image))
    variables.pop("intermediates", None)
    program = jax.make_jaxpr(lambda variables, image: model.apply(variables, image, train=False))(
        variables, image
    )
    sizes = {name: _sizes(variables.get(name, {})) for name in ("params", "batch_stats")}
    scopes = {path for found in sizes.values() for path in found if path}
    trace = _Trace(input_shape[:2], scopes)
    constants = [None] * (len(program.jaxpr.invars) - 1)
    trace.walk(program.jaxpr, [*constants, View(Field(), Field())])
    layers = tuple(
        Layer(
            name=name,
            output_shape=shape[1:],
            parameters=sizes["params"].get(name, 0),
            receptive_field=trace.extent(view),
            stride=None if view.whole else (view.rows.stride, view.columns.stride),
            multiply_adds=trace.multiply_adds.get(name, 0),
        )
        for name, (shape, view) in trace.outputs.items()
    )
    return Inspection(
        input_shape,
        layers,
        sum(sizes["params"].values()),
        sum(trace.multiply_adds.values()),
    )


def _sizes(tree: Mapping[str, Any], path: str = "") -> dict[str, int]:
    """How many numbers each module holds itself, by its path."""
    found: dict[str, int] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _sizes(value, f"{path}/{name}" if path else name)
        else:
            found[path] = found.get(path, 0) + math.prod(value.shape)
    return found


class _Trace:
    """Walks a traced program and notes what each layer gives."""

    def __init__(self, image: tuple[int, int], scopes: set[str]):
        self.image = image
        self.scopes = scopes
        self.outputs: dict[str, tuple[tuple[int, ...], View]] = {}
        self.multiply_adds: dict[str, int] = {}

    def extent(self, view: View) -> tuple[int, int]:
        """Rows and columns that a value sees."""
        return self.image if view.whole else (view.rows.size, view.columns.size)

    def walk(self, jaxpr: Any, views: Sequence[View | None], scope: str = "") -> list[View | None]:
        """The views of a program's results, from those of its arguments; None for constants."""
        seen: dict[Any, View | None] = dict(zip(jaxpr.invars, views, strict=True))

        def read(atom: Any) -> View | None:
            return None if hasattr(atom, "val") else seen.get(atom)

        for equation in jaxpr.eqns:
            operands = [read(atom) for atom in equation.invars]
            inside = "/".join(filter(None, (scope, str(equation.source_info.name_stack))))
            body = _body(equation)
            if body is None:
                results = [_view(equation, operands)] * len(equation.outvars)
            else:
                # The first operand of a `cond` chooses the branch.
                chosen = operands[1:] if equation.primitive.name == "cond" else operands
                results = self.walk(body, chosen, inside)
            for variable, view in zip(equation.outvars, results, strict=True):
                seen[variable] = view
                if view is not None:
                    self.note(equation, inside, variable.aval.shape, view)
        return [read(atom) for atom in jaxpr.outvars]

    def note(self, equation: Any, scope: str, shape: tuple[int, ...], view: View) -> None:
        """Writes down an equation's result as what its layer gives, until a later one is."""
        path = [part.partition(".")[0] for part in scope.split("/")[1:]]
        name = next(
            (p for n in range(len(path), 0, -1) if (p := "/".join(path[:n])) in self.scopes), None
        )
        if name is None:
            kind = _kind(equation)
            if kind is None:
                return
            name = "/".join((*path, kind))
            number = sum(other.rpartition("_")[0] == name for other in self.outputs)
            name = f"{name}_{number}"
        self.outputs[name] = (shape, view)
        self.multiply_adds[name] = self.multiply_adds.get(name, 0) + _multiply_adds(equation)


def _body(equation: Any) -> Any:
    """The program inside an equation, if any; where platforms differ, that of no one platform."""
    params = equation.params
    if equation.primitive.name == "cond":
        return params["branches"][-1].jaxpr
    inner = params.get("call_jaxpr", params.get("jaxpr"))
    return getattr(inner, "jaxpr", inner)


# Whatever keeps a map's height and width takes each pixel by itself, but for these.
_MIXING = frozenset(
    (
        *("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "sort"),
        *("dynamic_slice", "dynamic_update_slice", "gather", "scatter", "scatter-add"),
        *("dot_general", "fft", "rev", "scan", "transpose", "triangular_solve", "while"),
    )
)


def _view(equation: Any, operands: Sequence[View | None]) -> View | None:
    """What the results of one equation see."""
    known = [view for view in operands if view is not None]
    if not known:
        return None
    union = View(
        Field(*map(max, *(view.rows for view in known), Field())),
        Field(*map(max, *(view.columns for view in known), Field())),
        any(view.whole for view in known),
    )
    windows = _windows(equation)
    if windows is not None:
        rows, columns = windows
        return union._replace(
            rows=union.rows.seen_through(*rows), columns=union.columns.seen_through(*columns)
        )
    after = equation.outvars[0].aval.shape
    pixels = {
        atom.aval.shape[1:3]
        for atom, view in zip(equation.invars, operands, strict=True)
        if view is not None
    }
    pointwise = len(after) >= 3 and pixels == {after[1:3]}
    if pointwise and equation.primitive.name not in _MIXING:
        return union
    return union._replace(whole=True)


def _windows(equation: Any) -> list[tuple[int, int, int]] | None:
    """Size, stride and dilation of an equation's window along rows and columns, if it has one."""
    name, params = equation.primitive.name, equation.params
    shape = equation.invars[0].aval.shape if equation.invars else ()
    if len(shape) != 4:
        return None
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        if numbers.lhs_spec[2:] != (1, 2) or set(params["lhs_dilation"]) != {1}:
            return None
        kernel = equation.invars[1].aval.shape
        sizes = [kernel[axis] for axis in numbers.rhs_spec[2:]]
        return list(zip(sizes, params["window_strides"], params["rhs_dilation"], strict=True))
    if name.startswith("reduce_window"):
        parts = (params[p] for p in ("window_dimensions", "window_strides", "window_dilation"))
        return list(zip(*(part[1:3] for part in parts), strict=True))
    if name == "slice":
        return [(1, step, 1) for step in (params["strides"] or (1, 1, 1, 1))[1:3]]
    if name == "pad" and all(between == 0 for _, _, between in params["padding_config"]):
        return [(1, 1, 1), (1, 1, 1)]
    return None


def _kind(equation: Any) -> str | None:
    """What an equation outside of any layer is called, if it deserves a row."""
    name, params = equation.primitive.name, equation.params
    shape = equation.invars[0].aval.shape if equation.invars else ()
    if name in ("conv_general_dilated", "dot_general"):
        return {"conv_general_dilated": "convolution", "dot_general": "product"}[name]
    if len(shape) != 4:
        return None
    if name.startswith("reduce_window"):
        return "max_pool" if name.endswith("max") else "avg_pool"
    if name in ("reduce_sum", "reduce_max") and params["axes"] == (1, 2):
        return "global_max_pool" if name.endswith("max") else "global_avg_pool"
    return None


def _multiply_adds(equation: Any) -> int:
    """Multiplications of a convolution or a matrix product; 0 for anything else."""
    name, params = equation.primitive.name, equation.params
    result = math.prod(equation.outvars[0].aval.shape)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        return result * math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return result * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 0
