"""IVON (Shen et al., "Variational learning is effective for large deep networks", ICML 2024)."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor

from methods.method import Method


class IVON(Method):
    """g = ∇L(w + σ·z), σ² = 1/(N·(h + δ)), and a Newton-like step of w that also learns h.

    The optimiser is that of the package `ivon-opt`: it takes the place of AdamW, with its own
    learning rate in the same one-cycle schedule. All parameters are perturbed, as there. Its
    draws come from this method's stream; its count of steps, which its `state_dict` leaves out and
    the correction of the first steps needs, is kept here.

    Parameters:
        lr: largest learning rate; published 0.1 to 0.2.
        ess: N in units of the number of training images; published 1.
        hess_init: h at the start; published 0.1 to 0.5 (the package's default is 1).
        beta1, beta2: of the running means; published 0.9 and 0.99999.
        delta: δ, weight decay; published 1e-4.

    Raises:
        ModuleNotFoundError: where `ivon-opt` is not installed (`lacks` says so before).
    """

    def __init__(self, *setting, lr, ess, hess_init, beta1, beta2, delta, **rest):
        super().__init__(*setting, **rest)
        if min(lr, ess, hess_init) <= 0 or delta < 0 or not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise ValueError("takes lr, ess, hess_init > 0, delta ≥ 0, betas from 0 to below 1")
        self.ess = ess
        self.knobs = {"lr": lr, "hess_init": hess_init, "beta1": beta1, "beta2": beta2}
        self.knobs["weight_decay"] = delta

    @classmethod
    def lacks(cls) -> str:
        return "" if find_spec("ivon") else "ivon-opt"

    def make_optimizer(self, images: int) -> torch.optim.Optimizer:
        import ivon  # optional

        parameters = list(self.model.parameters())
        for p in parameters:  # as the package leaves them after a step
            p.data = p.data.contiguous()
        self.optimizer = ivon.IVON(parameters, ess=self.ess * images, **self.knobs)
        return self.optimizer

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        parameters = list(self.model.parameters())
        clean = [p.data for p in parameters]
        sampled = self.optimizer.sampled_params(train=True)
        with own_draws(self.stream):
            sampled.__enter__()
        self.sizes.note(parameters, clean)
        loss = self.loss(self.model(x), y)  # (B, C, H, W) -> (B, classes) -> ()
        loss.backward()
        sampled.__exit__(None, None, None)
        return loss

    def state_dict(self) -> dict:
        return {"current_step": self.optimizer.current_step}

    def load_state_dict(self, state: dict) -> None:
        self.optimizer.current_step = state.get("current_step", 0)
        device = next(self.model.parameters()).device
        for group in self.optimizer.param_groups:  # torch moves states to the device, not these
            for name in ("momentum", "hess"):
                group[name] = group[name].to(device)


@contextmanager
def own_draws(stream: torch.Generator) -> Iterator[None]:
    """Within this context PyTorch's global draws on a stream's device come from the stream."""
    cuda = stream.device.type == "cuda"
    with torch.random.fork_rng(devices=[stream.device] if cuda else []):
        if cuda:
            torch.cuda.set_rng_state(stream.get_state(), stream.device)
        else:
            torch.set_rng_state(stream.get_state())
        yield
        now = torch.cuda.get_rng_state(stream.device) if cuda else torch.get_rng_state()
        stream.set_state(now)
