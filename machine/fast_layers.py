"""Layers that skip work which cannot change the result; parameters are those of `torch.nn`.

Savings, exact up to the rounding of reordered sums:

* Grey images stored as three equal channels come as an expanded view (stride 0 in the channel
  dimension). Σ_c W_c x = (Σ_c W_c) x, so the first layer needs one channel, not three. (So the
  gradient of such a view arrives in its first channel, and is right once it is the image's.)
* A kernel larger than its feature map has taps that only ever multiply padding. ResNet-18 on
  28×28 images reaches 1×1 maps, where 8 of 9 taps of every 3×3 kernel are dead.
* A 3×3 convolution of 2×2 maps multiplies padding in 20 of its 36 products. Few output positions
  are better taken one by one, each as one product of matrices over the taps on the input there.
* Max pooling keeps the position of each maximum for the backward pass; without one, a maximum of
  shifted views gives the same values of disjoint windows in less time on a CPU.
* Torch's attention copies its projections several times over. One copy is enough.

On a CPU, pooling, batch norm and most convolutions are faster with the channels innermost in memory
(`channels_last`). The convolution that a grey view meets begins with that, and the others follow.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def equal_channels(x: Tensor) -> bool:
    """Tell whether the channels of x (B, C, H, W) are one channel, seen C times."""
    return x.dim() == 4 and x.size(1) > 1 and x.stride(1) == 0


Axis = tuple[int, int, int, int]  # of a 1-D convolution: size, kernel, stride, padding


def outputs(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the number of output positions of a 1-D convolution."""
    return (size + 2 * padding - kernel) // stride + 1


def live_taps(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int, int]:
    """Find the taps of a 1-D convolution that touch its input at least once.

    Args:
        size, kernel, stride, padding: of the convolution along this axis (dilation 1).

    Returns:
        `(first, last, before, after)`: first and last live tap, both included, and the zero
        padding that the cropped kernel needs before and after the input (negative: crop it).
    """
    last_start = (outputs(size, kernel, stride, padding) - 1) * stride - padding
    first = max(0, -last_start)
    last = min(kernel - 1, size - 1 + padding)
    reach = last_start + last  # last input position that is read
    return first, last, padding - first, reach - (size - 1)


FEW = 4  # output positions: 16 products already take longer than one convolution


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` without the multiplications by padding and by repeated channels."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        on_cpu = x.device.type == "cpu"
        if equal_channels(x) and x.size(1) == self.in_channels and self.groups == 1:
            x = x[:, 0, :, :, None].permute(0, 3, 1, 2) if on_cpu else x[:, :1]  # -> channels_last
            weight = weight.sum(1, keepdim=True)  # (O, C, k, k) -> (O, 1, k, k)
        if (
            x.dim() != 4
            or isinstance(self.padding, str)
            or self.padding_mode != "zeros"
            or set(self.dilation) > {1}
        ):
            return self._conv_forward(x, weight, self.bias)
        axes = list(zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True))
        rows, columns = (outputs(*axis) for axis in axes)
        if rows < 1 or columns < 1:
            return self._conv_forward(x, weight, self.bias)  # raises
        (top, bottom, *pad_h), (left, right, *pad_w) = (live_taps(*axis) for axis in axes)
        live = weight[:, :, top : bottom + 1, left : right + 1]
        if rows * columns <= FEW and self.groups == 1 and on_cpu:
            return by_output(x, live, self.bias, axes)
        if live.shape == weight.shape or any(a != b or a < 0 for a, b in (pad_h, pad_w)):
            return self._conv_forward(x, weight, self.bias)
        padding = pad_h[0], pad_w[0]
        return F.conv2d(x, live, self.bias, self.stride, padding, groups=self.groups)


def by_output(x: Tensor, live: Tensor, bias: Tensor | None, axes: Sequence[Axis]) -> Tensor:
    """Convolve by one product of matrices for each output position.

    Args:
        x: (B, C, H, W).
        live: the live taps of the kernels, (O, C, h, w).
        bias: (O,) or None.
        axes: of the convolution along H and W.

    Returns:
        (B, O, rows, columns), with the channels innermost in memory.
    """
    x = x.permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)
    live = live.permute(0, 2, 3, 1).contiguous()  # (O, C, h, w) -> (O, h, w, C)
    rows, columns = (overlaps(*axis) for axis in axes)
    found = [
        F.linear(x[:, i, j].flatten(1), live[:, k, m].flatten(1), bias)  # (B, O)
        for i, k in rows
        for j, m in columns
    ]
    y = torch.stack(found, 1).unflatten(1, (len(rows), len(columns)))  # (B, rows, columns, O)
    return y.permute(0, 3, 1, 2)


def overlaps(size: int, kernel: int, stride: int, padding: int) -> list[tuple[slice, slice]]:
    """Find for each output of a 1-D convolution the input that it reads, and by which live taps."""
    first, *_ = live_taps(size, kernel, stride, padding)
    found = []
    for o in range(outputs(size, kernel, stride, padding)):
        start = o * stride - padding  # of the kernel, in the input
        low = max(0, -start)
        stop = max(low, min(kernel, size - start))
        found.append((slice(start + low, start + stop), slice(low - first, stop - first)))
    return found


class MaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` that, of disjoint windows, looks for no positions that nobody needs."""

    def forward(self, x: Tensor) -> Tensor:
        k = self.kernel_size
        disjoint = isinstance(k, int) and (self.stride, self.padding, self.dilation) == (k, 0, 1)
        plain = disjoint and not self.ceil_mode and not self.return_indices
        plain = plain and x.dim() == 4 and 1 < k <= min(x.shape[-2:]) and x.device.type == "cpu"
        if not plain or (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        rows, columns = (n // k * k for n in x.shape[-2:])
        x = _maximum([x[..., i:rows:k, :] for i in range(k)])
        return _maximum([x[..., j:columns:k] for j in range(k)])


def _maximum(views: list[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, views)


class FlatLinear(nn.Linear):
    """`nn.Linear` on flattened images: (B, C, H, W) -> (B, out_features)."""

    def forward(self, x: Tensor) -> Tensor:
        if not equal_channels(x):
            return super().forward(x.flatten(1))
        weight = self.weight.view(self.out_features, x.size(1), -1).sum(1)  # (O, C·HW) -> (O, HW)
        return F.linear(x[:, 0].flatten(1), weight, self.bias)


class MultiheadAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` with fewer copies for plain self-attention in short sequences."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *options, **named
    ) -> tuple[Tensor, Tensor | None]:
        plain = self.batch_first and self.in_proj_weight is not None and self.bias_k is None
        plain = plain and not self.add_zero_attn and not (self.dropout and self.training)
        plain = plain and query.device.type == "cpu" and not query.is_nested and query.dim() == 3
        asked = query is key is value and not options and named == {"need_weights": False}
        if not (plain and asked) or query.size(1) > 64:  # a long one's N×N weights are large
            return super().forward(query, key, value, *options, **named)
        x = F.linear(query, self.in_proj_weight, self.in_proj_bias)  # (B, N, E) -> (B, N, 3·E)
        x = x.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        q, k, v = x.flatten(1, 2).unbind()  # (3, B, h, N, d) -> 3 × (B·h, N, d)
        weights = (q / math.sqrt(self.head_dim) @ k.mT).softmax(-1)  # (B·h, N, N)
        y = (weights @ v).unflatten(0, (-1, self.num_heads))  # (B, h, N, d)
        return self.out_proj(y.transpose(1, 2).flatten(2)), None  # -> (B, N, E)


FASTER = {
    nn.Conv2d: Conv2d,
    nn.MaxPool2d: MaxPool2d,
    nn.MultiheadAttention: MultiheadAttention,
}


def skip_dead_work(model: nn.Module) -> nn.Module:
    """Give `model` the layers above in place of torch's; parameters and results stay the same.

    The order of activations in memory may differ: flatten or reshape them, `view` may refuse.
    """
    for module in model.modules():
        module.__class__ = FASTER.get(type(module), type(module))
    return model


class Normalize(nn.Module):
    """Shift and scale pixels, all alike or by channel; equal channels that are treated alike stay
    one channel seen several times."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.mean, float):
            mean, std = (x.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))  # (C, 1, 1)
            return (x - mean) / std
        if not equal_channels(x):
            return (x - self.mean) / self.std
        one = (x[:, :1] - self.mean) / self.std
        return one.expand(-1, x.size(1), -1, -1)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class Colours(nn.Module):
    """Grey images (B, 1, H, W) as three equal channels (B, 3, H, W); nothing is copied."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


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
