"""Curvature of the loss around trained weights, from products of the Hessian with random vectors.

Under weight noise ε ~ N(0, (α·s_l)²) in every noisy tensor l, the loss rises to second order by

    E L(W + ε) − L(W) = ½ α² T,    T = Σ_l s_l² tr(H_ll) = tr(S H S)

with H the Hessian of the loss at W and S the diagonal matrix that gives each weight the standard
deviation s_l of its tensor. T is estimated as Hutchinson (1990, Communications in Statistics –
Simulation and Computation 19) did: for z of independent signs ±1, zᵀ S H S z has the mean T. The
share of tensor l, s_l z_lᵀ (H S z)_l, has the mean s_l² tr(H_ll). H itself is never formed:
H v is the derivative of gᵀv, a second backward pass (Pearlmutter, 1994).

The images are the first ones of the training set, the loss is their mean cross-entropy in nats,
and the model is in evaluation mode. The curvature that this predicts is measured on the very same
images: on others it may be another one, and the comparison would not be of the second order with
the truth. Where units are ReLUs or maxima the Hessian is that of the linear pieces around W: what
crossing a kink adds to the loss is in the measurement and not in the prediction.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from config import PROBES
from data import batches
from noise import noisy_parameters, philox, relative_std

BATCH_SIZE = 128  # images whose graph is held: that of a ResNet-18 then takes about 0.5 GiB

Probe = Callable[[int], Mapping[str, Tensor]]


def rademacher(
    parameters: Mapping[str, Tensor], noise_seed: int, run_seed: int, probe: int
) -> dict[str, Tensor]:
    """Return independent signs ±1 of each parameter's shape (float32, CPU).

    Tensor `name` depends on (`noise_seed`, `run_seed`, `probe`, `name`) and its size alone, as in
    `noise.unit_noise`: the key of NumPy's Philox is taken from "noise_seed/run_seed/probe
    probe/name", and the bits of its raw output, lowest first, are the signs (1 is +).
    """
    signs = {}
    for name, parameter in parameters.items():
        stream = philox(f"{int(noise_seed)}/{int(run_seed)}/probe {int(probe)}/{name}")
        count = parameter.numel()
        raw = stream.random_raw(-(-count // 64)).astype("<u8").view(np.uint8)
        bits = np.unpackbits(raw, bitorder="little", count=count).reshape(parameter.shape)
        signs[name] = torch.from_numpy(2 * bits.astype(np.float32) - 1)
    return signs


def quadratic_forms(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    probe: Probe,
    probes: int = PROBES,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> dict[str, list[float | None]]:
    """Return s_l z_lᵀ (H S z)_l for every noisy tensor l and probe z.

    Args:
        model: from pixels (B, 3, H, W) in [0, 1] to logits; it is put in evaluation mode, and its
            weights and gradients are left as they were.
        images: (N, H, W) uint8, on the model's device.
        labels: (N,) int64.
        probe: from the number of a probe to its signs, by parameter name; it is asked again for
            every batch, because together the probes would take more memory than the model.
        probes: how many.
        loss: from logits and labels of a batch to their mean loss, in nats.
        noisy, clean: name patterns for parameters of unknown use.

    Returns:
        By parameter name `probes` numbers, in nats (None where not finite). Over the parameters
        they sum to zᵀ S H S z.
    """
    model.eval()
    parameters = noisy_parameters(model, noisy, clean)
    weights = {n: p.detach().requires_grad_() for n, p in parameters.items()}
    scales = {n: relative_std(w.detach()) for n, w in weights.items()}
    forms = {n: torch.zeros(probes, dtype=torch.float64) for n in weights}
    # only the plain form of attention has a second derivative
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for x, y in batches(images, labels, BATCH_SIZE):
            logits = torch.func.functional_call(model, weights, (x,))  # (B, classes)
            part = loss(logits, y) * (len(y) / len(labels))
            gradients = torch.autograd.grad(
                part, list(weights.values()), create_graph=True, materialize_grads=True
            )
            curved = {n: g for n, g in zip(weights, gradients, strict=True) if g.requires_grad}
            for k in range(probes if curved else 0):
                z = probe(k)
                v = {n: scales[n] * z[n].to(weights[n]) for n in weights}  # S z
                products = torch.autograd.grad(
                    list(curved.values()),
                    list(weights.values()),
                    [v[n] for n in curved],
                    retain_graph=k < probes - 1,
                    materialize_grads=True,
                )  # H S z
                for n, product in zip(weights, products, strict=True):
                    forms[n][k] += (v[n].double() * product).sum().item()
    return {
        n: [f if np.isfinite(f) else None for f in found.tolist()] for n, found in forms.items()
    }


def estimate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    noise_seed: int,
    run_seed: int,
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> dict[str, list[float | None]]:
    """Return the `quadratic_forms` of the run's own `PROBES` random probes."""
    parameters = noisy_parameters(model, noisy, clean)

    def probe(k: int) -> dict[str, Tensor]:
        return rademacher(parameters, noise_seed, run_seed, k)

    return quadratic_forms(model, images, labels, probe, noisy=noisy, clean=clean)
