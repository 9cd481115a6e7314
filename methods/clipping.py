"""Weights kept within a multiple of their spread."""

import torch

from methods.injection import Injection
from noise import relative_std


class Clipping(Injection):
    """After each step every noisy parameter is clamped to ±k·std(W), std over the whole tensor.

    Without large weights noise relative to max|W| is small (aihwkit: `WeightClipType`
    "layer_gaussian", k = 2.5; Rasch et al., Nature Communications 14, 5282, 2023). The realised
    size is that of the cut, ‖clamped − w‖/‖w‖, where the regime is without noise.

    Parameters:
        sigmas: k; published 2.5.
    """

    def __init__(self, *setting, sigmas, **rest):
        super().__init__(*setting, **rest)
        if sigmas <= 0:
            raise ValueError("takes sigmas > 0")
        self.sigmas = sigmas

    @torch.no_grad()
    def after_step(self) -> None:
        before = [] if self.alpha else [p.clone() for p in self.noisy.values()]
        for p in self.noisy.values():
            limit = (self.sigmas * relative_std(p)).to(p.dtype)
            p.clamp_(-limit, limit)
        if before:
            self.sizes.note(self.noisy.values(), before)
