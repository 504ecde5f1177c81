"""PyTorch's layers on arrays laid out as ours: NHWC images, HWIO kernels."""

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason='PyTorch is the extra "oracle" (make test-all)')
F = torch.nn.functional
Tensor = Any


def to_nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def to_nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def sides(padding: Any, size: Any, window: Any, stride: Any) -> list[tuple[int, int]]:
    """(before, after) of each axis; of "same" what TensorFlow documents."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        pads = []
        for n, k, s in zip(size, window, stride, strict=True):
            over = n % s if n % s else s
            total = max(k - over, 0)
            pads.append((total // 2, total - total // 2))
        return pads
    return [(padding, padding)] * 2 if isinstance(padding, int) else list(padding)


def padded(x: Tensor, padding: Any, window: Any, stride: Any, value: float = 0.0) -> Tensor:
    """NHWC to NCHW, with its borders."""
    (top, bottom), (left, right) = sides(padding, x.shape[1:3], window, stride)
    return F.pad(to_nchw(x), (left, right, top, bottom), value=value)


def conv2d(x: Tensor, kernel: Tensor, bias=None, stride: Any = 1, padding: Any = "same") -> Tensor:
    steps = (stride, stride) if isinstance(stride, int) else stride
    x = padded(x, padding, kernel.shape[:2], steps)
    return to_nhwc(F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, steps))


def max_pool2d(x: Tensor, window: Any = 2, stride: Any = None, padding: Any = "valid") -> Tensor:
    size = (window, window) if isinstance(window, int) else window
    steps = size if stride is None else (stride, stride) if isinstance(stride, int) else stride
    return to_nhwc(F.max_pool2d(padded(x, padding, size, steps, -torch.inf), size, steps))


def avg_pool2d(x: Tensor, window: Any = 2, stride: Any = None, padding: Any = "valid") -> Tensor:
    size = (window, window) if isinstance(window, int) else window
    steps = size if stride is None else (stride, stride) if isinstance(stride, int) else stride
    return to_nhwc(F.avg_pool2d(padded(x, padding, size, steps), size, steps))


def global_avg_pool2d(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(to_nchw(x), 1)[:, :, 0, 0]


def batch_norm(
    x: Tensor, scale, bias, mean: Tensor, var: Tensor, training: bool, momentum, epsilon
) -> tuple[Tensor, Tensor, Tensor]:
    """With our conventions for the statistics: momentum weighs the old, the variance is biased."""
    mean, old_var = mean.clone(), var.clone()
    new_var = var.clone()
    moved = x.movedim(-1, 1)
    y = F.batch_norm(moved, mean, new_var, scale, bias, training, 1 - momentum, epsilon)
    if training:
        count = x.numel() // x.shape[-1]
        kept = momentum * old_var
        new_var = kept + (new_var - kept) * (count - 1) / count
    return y.movedim(1, -1), mean, new_var


def group_norm(x: Tensor, scale, bias, groups: int, epsilon: float) -> Tensor:
    if scale is None:  # PyTorch's gradient fails where there is a bias alone
        scale = torch.ones(x.shape[-1], dtype=x.dtype)
    return F.group_norm(x.movedim(-1, 1), groups, scale, bias, epsilon).movedim(1, -1)


def layer_norm(x: Tensor, scale, bias, epsilon: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, bias, epsilon)


def dense(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, kernel.T, bias)
