"""Curvature of the loss around trained weights, from products of the Hessian with noise draws.

Under weight noise ε = α S z, with z of independent standard normals, the pair ±ε raises the loss
to second order by

    ½[L(W + ε) + L(W − ε)] − L(W) = ½ α² zᵀ S H S z

with H the Hessian of the loss at W and S the diagonal matrix that gives each weight the standard
deviation s_l of its tensor l. Over draws the form zᵀ S H S z has the mean T = tr(S H S) =
Σ_l s_l² tr(H_ll): this is Hutchinson's estimate (1990, Communications in Statistics – Simulation
and Computation 19) with normals in place of signs. The share of tensor l, s_l z_lᵀ (H S z)_l, has
the mean s_l² tr(H_ll). H itself is never formed: H v is the derivative of gᵀv, a second backward
pass (Pearlmutter, 1994).

The draws are those that are measured, so that what is left between prediction and measurement is
no luck of the draw. The images are the first ones of the training set, the loss is their mean
cross-entropy in nats, the model is in evaluation mode, and the pairs are measured on the very same
images. Where units are ReLUs or maxima the Hessian is that of the smooth pieces around W. Kinks
are many and ε crosses some at any α: the slopes that they add are as large as ε, and so are their
number, so that the loss rises by a term of order α² that is in the measurement and not in H.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from data import batches
from noise import noisy_parameters, relative_std, unit_noise

BATCH_SIZE = 128  # images whose graph is held: that of a ResNet-18 then takes about 0.5 GiB

Probe = Callable[[int], Mapping[str, Tensor]]


def quadratic_forms(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    probe: Probe,
    probes: int,
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
        probe: from the number of a probe to its z, by parameter name; it is asked again for
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


def along_draws(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    noise_seed: int,
    run_seed: int,
    draws: int,
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> dict[str, list[float | None]]:
    """Return the `quadratic_forms` of a run's first evaluation draws: see `noise.unit_noise`."""
    parameters = noisy_parameters(model, noisy, clean)

    def probe(k: int) -> dict[str, Tensor]:
        return unit_noise(parameters, noise_seed, run_seed, k)

    return quadratic_forms(model, images, labels, probe, draws, noisy=noisy, clean=clean)
