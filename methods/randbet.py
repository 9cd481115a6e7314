"""RandBET, random bit error training (Stutz et al., "Bit error robustness for energy-efficient DNN
accelerators", MLSys 2021)."""

import torch
from torch import Tensor

from methods.family_injection import FamilyInjection
from methods.passes import frozen_statistics, gradients_at, leave, scaled, summed
from noises.faults import apply_bits


class RandBET(FamilyInjection):
    """g = ½(∇L(Q(w)) + clamp(∇L(Q(w) with flipped bits), ±c)), straight through, then clipping.

    Q and the flips are those of the noise family `bit_errors`, on the noisy parameters (theirs
    quantise biases too). After each step these are clamped to ±w_max, which makes the range, and
    with it what a bit is worth, small. As in theirs, flips begin with the first batch whose loss is
    below the threshold; until then the second pass repeats the first, where theirs has none.

    Parameters:
        rate: p of each bit; published 0.001 to 0.02.
        clamp: c; in their code 0.05.
        w_max: published 0.05 to 0.3.
        threshold: published 1.75 (of ten classes; 3.5 of a hundred).
    """

    cost = 2.0

    def __init__(self, *setting, rate, clamp, w_max, threshold, **rest):
        fixed = {"strength": rate, "ramp": 0, "spread": 0}
        super().__init__(*setting, family="bit_errors", **fixed, **rest)
        if clamp <= 0 or w_max <= 0:
            raise ValueError("takes a clamp and a w_max > 0")
        self.clamp, self.w_max, self.threshold = clamp, w_max, threshold
        self.begun = False

    @torch.no_grad()
    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        z = self.units()
        whole = {n: apply_bits(w, z[n], 0.0, bits=8) for n, w in self.pairs()}
        with torch.enable_grad():
            loss, first = gradients_at(self.model, whole, x, lambda logits: self.loss(logits, y))
        self.begun = self.begun or loss.item() < self.threshold
        flipped = whole
        if self.begun:
            flipped = {n: self.apply(w, z[n], self.strength) for n, w in self.pairs()}
        self.sizes.note(flipped.values(), self.noisy.values())
        with torch.enable_grad(), frozen_statistics(self.model):
            _, second = gradients_at(self.model, flipped, x, lambda logits: self.loss(logits, y))
        if self.begun:
            second = {name: g.clamp_(-self.clamp, self.clamp) for name, g in second.items()}
        leave(self.model, scaled(summed(first, second), 0.5))
        self.steps += 1
        return loss

    def state_dict(self) -> dict:
        return {**super().state_dict(), "begun": self.begun}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.begun = state.get("begun", False)

    def pairs(self):
        """Return the noisy parameters by name, without their graph."""
        return [(name, p.detach()) for name, p in self.noisy.items()]

    @torch.no_grad()
    def after_step(self) -> None:
        for p in self.noisy.values():
            p.clamp_(-self.w_max, self.w_max)
