"""Layers that skip work which cannot change the result; parameters are those of `torch.nn`.

Three savings, exact up to the rounding of reordered sums:

* Grey images stored as three equal channels come as an expanded view (stride 0 in the channel
  dimension). Σ_c W_c x = (Σ_c W_c) x, so the first layer needs one channel, not three.
* A kernel larger than its feature map has taps that only ever multiply padding. ResNet-18 on
  28×28 images reaches 1×1 maps, where 8 of 9 taps of every 3×3 kernel are dead.
* Max pooling keeps the position of each maximum for the backward pass; without one, a maximum of
  shifted views gives the same values in less than half the time on a CPU.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def equal_channels(x: Tensor) -> bool:
    """Tell whether the channels of x (B, C, H, W) are one channel, seen C times."""
    return x.dim() == 4 and x.size(1) > 1 and x.stride(1) == 0


def live_taps(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int, int]:
    """Find the taps of a 1-D convolution that touch its input at least once.

    Args:
        size, kernel, stride, padding: of the convolution along this axis (dilation 1).

    Returns:
        `(first, last, before, after)`: first and last live tap, both included, and the zero
        padding that the cropped kernel needs before and after the input (negative: crop it).
    """
    outputs = (size + 2 * padding - kernel) // stride + 1
    first = max(0, padding - (outputs - 1) * stride)
    last = min(kernel - 1, size - 1 + padding)
    reach = (outputs - 1) * stride - padding + last  # last input position that is read
    return first, last, padding - first, reach - (size - 1)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` without the multiplications by padding and by repeated channels."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if equal_channels(x) and self.groups == 1:
            x = x[:, :1]  # (B, C, H, W) -> (B, 1, H, W)
            weight = weight.sum(1, keepdim=True)  # (O, C, k, k) -> (O, 1, k, k)
        if (
            isinstance(self.padding, str)
            or self.padding_mode != "zeros"
            or set(self.dilation) > {1}
        ):
            return self._conv_forward(x, weight, self.bias)
        axes = [
            live_taps(*axis)
            for axis in zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        ]
        dead = any((f, last) != (0, k - 1) for (f, last, *_), k in zip(axes, self.kernel_size))
        if not dead or any(before != after or before < 0 for *_, before, after in axes):
            return self._conv_forward(x, weight, self.bias)
        (top, bottom, pad_h, _), (left, right, pad_w, _) = axes
        weight = weight[:, :, top : bottom + 1, left : right + 1]
        return F.conv2d(x, weight, self.bias, self.stride, (pad_h, pad_w), groups=self.groups)


class MaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` that does not look for positions where no backward pass needs them."""

    def forward(self, x: Tensor) -> Tensor:
        plain = self.dilation == 1 and not self.ceil_mode and not self.return_indices
        square = all(isinstance(n, int) for n in (self.kernel_size, self.stride, self.padding))
        if x.is_cuda or not (plain and square) or (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        k, s, p = self.kernel_size, self.stride, self.padding
        if p:
            x = F.pad(x, (p, p, p, p), value=-math.inf)
        rows, columns = ((n - k) // s + 1 for n in x.shape[-2:])
        x = _maximum([x[..., i : i + s * (rows - 1) + 1 : s, :] for i in range(k)])
        return _maximum([x[..., i : i + s * (columns - 1) + 1 : s] for i in range(k)])


def _maximum(views: list[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, views)


class FlatLinear(nn.Linear):
    """`nn.Linear` on flattened images: (B, C, H, W) -> (B, out_features)."""

    def forward(self, x: Tensor) -> Tensor:
        if not equal_channels(x):
            return super().forward(x.flatten(1))
        weight = self.weight.view(self.out_features, x.size(1), -1).sum(1)  # (O, C·HW) -> (O, HW)
        return F.linear(x[:, 0].flatten(1), weight, self.bias)


def skip_dead_work(model: nn.Module) -> nn.Module:
    """Give `model` this file's convolutions and pooling; parameters and results stay the same."""
    faster = {nn.Conv2d: Conv2d, nn.MaxPool2d: MaxPool2d}
    for module in model.modules():
        module.__class__ = faster.get(type(module), type(module))
    return model


class Normalize(nn.Module):
    """Shift and scale pixels; equal channels stay one channel seen three times."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        if not equal_channels(x):
            return (x - self.mean) / self.std
        one = (x[:, :1] - self.mean) / self.std
        return one.expand(-1, x.size(1), -1, -1)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class Resize(nn.Module):
    """Bilinear resize to `size` × `size` pixels, inside the model; equal channels stay equal."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        channels = x.size(1)
        one = x[:, :1] if equal_channels(x) else x
        one = F.interpolate(one, self.size, mode="bilinear", align_corners=False, antialias=False)
        return one.expand(-1, channels, -1, -1) if one.size(1) < channels else one
