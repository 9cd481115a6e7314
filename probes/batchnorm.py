"""BatchNorm statistics taken anew: what a model does under noise, and not what its statistics do.

A BatchNorm layer normalises by the mean and variance that its inputs had in training. Noise on the
weights before it moves them, and the frozen statistics are then those of another network: much of
what looks like lost accuracy is that. Under the policy `reestimated` they are taken anew under the
very noise, on training images, and put back afterwards (as in Li et al., 2017, "Revisiting batch
normalization for practical domain adaptation", for a change of data).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sources.examples import call

_BatchNorm = nn.modules.batchnorm._BatchNorm


def layers(model: nn.Module) -> list[_BatchNorm]:
    """Return the BatchNorm layers that keep statistics."""
    found = (m for m in model.modules() if isinstance(m, _BatchNorm))
    return [layer for layer in found if layer.running_mean is not None]


def has_batchnorm(model: nn.Module) -> bool:
    """Return whether a model has BatchNorm statistics to take anew."""
    return bool(layers(model))


@contextmanager
def reestimated(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Within this context BatchNorm statistics are those of `batches`, at the weights as they are.

    Every batch counts alike: give equal ones. On leaving, the statistics of before are back, bit
    for bit; each layer's mode is that of before as soon as they are taken.

    Args:
        model: in evaluation mode; nothing but its BatchNorm layers is put in training mode, so
            that dropout stays off.
        batches: each x as the model takes it, such as (B, C, H, W); or a tuple or dict of tensors.
    """
    norms = layers(model)
    before = [[b.clone() for b in layer.buffers(recurse=False)] for layer in norms]
    modes = [(layer.training, layer.momentum) for layer in norms]
    try:
        for layer in norms:
            layer.reset_running_stats()
            layer.training, layer.momentum = True, None  # None: the plain mean over batches
        try:
            with torch.inference_mode():
                for x in batches:
                    call(model, x)
        finally:
            for layer, (training, momentum) in zip(norms, modes, strict=True):
                layer.training, layer.momentum = training, momentum
        yield
    finally:
        for layer, buffers in zip(norms, before, strict=True):
            for buffer, value in zip(layer.buffers(recurse=False), buffers, strict=True):
                buffer.copy_(value)
