"""Dropout (Srivastava et al., JMLR 15, 2014), without touching the architectures."""

import torch
from torch import Tensor, nn

from methods.injection import Injection


class Dropout(Injection):
    """In training, each input of a `Linear` layer is 0 with probability `rate`, else over 1 − rate.

    A hook on every `Linear` that is called as a module, but for the first layer with parameters,
    which the images enter: so the hidden units of mlp and cnn, the last layer of resnet18, the
    blocks' hidden layers of vit. Attention's projections are no such calls.

    Parameters:
        rate: the probability; published 0.5, in classifiers' last layers 0.1 to 0.3.
    """

    def __init__(self, *setting, rate, **rest):
        super().__init__(*setting, **rest)
        if not 0 <= rate < 1:
            raise ValueError("takes a rate from 0 to below 1")
        self.rate = rate
        _, *later = [m for m in self.model.modules() if list(m.parameters(recurse=False))]
        layers = [m for m in later if isinstance(m, nn.Linear)]
        if not layers:
            raise ValueError("this model has no Linear layer behind its first one: no dropout")
        self.hooks = [layer.register_forward_pre_hook(self.drop) for layer in layers]

    def drop(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Return the inputs with some at 0; None leaves them."""
        if not layer.training:
            return None
        x, *others = inputs
        keep = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.stream)
        return x * keep.div_(1 - self.rate), *others

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()
