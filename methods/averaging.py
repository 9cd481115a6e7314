"""Averages of the weights over training, by `torch.optim.swa_utils`."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_multi_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

from methods.injection import Injection


class Averaging(Injection):
    """Train as ever, and end at an average of the weights that were passed.

    At the end BatchNorm's running statistics are taken anew, at the average, over the training
    images: for a model that has them a third of a plain epoch, beyond a budget.
    """

    def __init__(self, *setting, average, **rest):
        super().__init__(*setting, **rest)
        self.average = AveragedModel(self.model, multi_avg_fn=average)

    @torch.no_grad()
    def finish(self, batches: Iterable[Tensor]) -> None:
        averages = self.average.module.parameters()
        for p, mean in zip(self.model.parameters(), averages, strict=True):
            p.copy_(mean)
        update_bn(batches, self.model)

    def state_dict(self) -> dict:
        return self.average.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.average.load_state_dict(state)


class EMA(Averaging):
    """After every step w̄ ← decay·w̄ + (1 − decay)·w, from the first step on (Polyak and Juditsky,
    1992; Tarvainen and Valpola, NeurIPS 2017).

    Parameters:
        decay: of the mean; published 0.99 to 0.9999: over about 1/(1 − decay) steps.
    """

    def __init__(self, *setting, decay, **rest):
        if not 0 <= decay < 1:
            raise ValueError("takes a decay from 0 to below 1")
        super().__init__(*setting, average=get_ema_multi_avg_fn(decay), **rest)

    def after_step(self) -> None:
        self.average.update_parameters(self.model)


class SWA(Averaging):
    """The plain mean of w after every step of the last part of training (Izmailov et al., UAI
    2018).

    Theirs takes one w in an epoch, at a constant learning rate; here trainings are of a few
    epochs, and the schedule is that of all methods, whose rate falls to 0.

    Parameters:
        start: share of the training before averaging begins; published 0.75.
    """

    def __init__(self, *setting, start, **rest):
        if not 0 <= start < 1:
            raise ValueError("takes a start from 0 to below 1")
        super().__init__(*setting, average=get_swa_multi_avg_fn(), **rest)
        self.start = start

    def after_step(self) -> None:
        if self.progress > self.start:
            self.average.update_parameters(self.model)
