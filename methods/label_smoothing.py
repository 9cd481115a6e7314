"""Label smoothing (Szegedy et al., CVPR 2016)."""

import torch.nn.functional as F
from torch import Tensor

from methods.injection import Injection


class LabelSmoothing(Injection):
    """Cross-entropy with (1 − s)·label + s/classes; the loss in the history is this one.

    Parameters:
        smoothing: s; published 0.1.
    """

    def __init__(self, *setting, smoothing, **rest):
        super().__init__(*setting, **rest)
        if not 0 <= smoothing < 1:
            raise ValueError("takes a smoothing from 0 to below 1")
        self.smoothing = smoothing

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, label_smoothing=self.smoothing)
