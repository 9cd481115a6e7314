"""hessian.py: against Hessians worked out in full, and against what pairs ±ε measure."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import hadamard
from torch import nn

import models
from analysis import curvature, flatness, intervals
from data import batches
from noise import noisy_parameters, relative_std, unit_noise, weight_noise
from probes import hessian
from store.checkpoints import content_digest

SIDE = 4  # pixels


class Tiny(nn.Module):
    """A model of 60 noisy weights, in float64, that has the first two of three equal channels."""

    def __init__(self, activation=torch.tanh):
        super().__init__()
        self.first = nn.Linear(2 * SIDE * SIDE, 1, bias=False)
        self.second = nn.Linear(1, 4)
        self.third = nn.Linear(4, 3, bias=False)
        self.third_more = nn.Linear(4, 3)
        self.activation = activation
        self.double()

    def forward(self, x):
        x = x[:, :2].double().flatten(1)  # (B, 3, 4, 4) -> (B, 32)
        x = self.activation(self.second(self.activation(self.first(x))))  # (B, 4)
        return self.third(x) + self.third_more(x) ** 2  # (B, 3)


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(
        0, 256, (30, SIDE, SIDE), generator=torch.Generator().manual_seed(1)
    ).byte()


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.arange(30) % 3


def squared(outputs, labels):
    """A loss that is quadratic in what the model gives."""
    return ((outputs - F.one_hot(labels, outputs.shape[1])) ** 2).sum(1).mean()


def whole_loss(model, images, labels, loss=F.cross_entropy) -> torch.Tensor:
    ((x, y),) = batches(images, labels, len(images))
    return loss(model(x), y)


def full(model, images, labels, loss=F.cross_entropy) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return S H S and S g of the noisy weights in one vector, and each parameter's place in it."""
    parameters = noisy_parameters(model)
    sizes = [p.numel() for p in parameters.values()]
    ends = np.cumsum([0, *sizes])
    places = {n: slice(a, b) for n, (a, b) in zip(parameters, itertools.pairwise(ends))}
    shapes = {n: p.shape for n, p in parameters.items()}
    scale = np.concatenate([[relative_std(p).item()] * p.numel() for p in parameters.values()])

    def of(vector):
        parts = {n: vector[place].view(shapes[n]) for n, place in places.items()}
        ((x, y),) = batches(images, labels, len(images))
        return loss(torch.func.functional_call(model, parts, (x,)), y)

    start = torch.cat([p.detach().flatten() for p in parameters.values()])
    gradient = torch.autograd.functional.jacobian(of, start).numpy()
    matrix = torch.autograd.functional.hessian(of, start).numpy()
    return scale[:, None] * matrix * scale, scale * gradient, places


def signs_of(rows: np.ndarray, model) -> list[dict[str, torch.Tensor]]:
    """Return vectors (k, weights) as tensors by parameter name."""
    parameters = noisy_parameters(model)
    ends = np.cumsum([p.numel() for p in parameters.values()])[:-1]
    return [
        {
            name: torch.from_numpy(part.astype(np.float32)).view(p.shape)
            for (name, p), part in zip(parameters.items(), np.split(row, ends), strict=True)
        }
        for row in rows
    ]


def orthogonal(model) -> list[dict[str, torch.Tensor]]:
    """Return ± vectors over which the mean of z zᵀ is exactly the identity: all that expectations
    of quadratic forms depend on."""
    count = sum(p.numel() for p in noisy_parameters(model).values())
    return signs_of(hadamard(64)[:, :count], model)


# ---- Against the whole Hessian ---------------------------------------------------------------


def test_every_form_is_that_of_the_whole_hessian(model, images, labels):
    matrix, _, places = full(model, images, labels)
    rows = np.random.default_rng(0).choice([-1, 1], (3, len(matrix)))
    probes = signs_of(rows, model)
    found = hessian.quadratic_forms(model, images, labels, probes.__getitem__, 3)
    assert list(found) == list(places) == list(noisy_parameters(model))
    for name, place in places.items():
        expected = [row[place] @ matrix[place] @ row for row in rows]
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert np.abs(matrix).max() > 1e-4  # or zeros would do


def test_the_mean_form_of_a_tensor_is_its_own_trace(model, images, labels):
    """Over probes of which the mean z zᵀ is the identity the estimate has no error at all."""
    matrix, _, places = full(model, images, labels)
    probes = orthogonal(model)
    found = hessian.quadratic_forms(model, images, labels, probes.__getitem__, len(probes))
    for name, place in places.items():
        assert np.mean(found[name]) == pytest.approx(np.trace(matrix[place, place]), rel=1e-6)
    assert curvature.totals(found).mean() == pytest.approx(np.trace(matrix), rel=1e-6)


def test_the_draws_of_a_run_estimate_the_trace_within_their_error(model, images, labels):
    matrix, _, _ = full(model, images, labels)
    forms = curvature.totals(hessian.along_draws(model, images, labels, 0, 5, 400))
    error = forms.std(ddof=1) / 400**0.5
    assert abs(forms.mean() - np.trace(matrix)) < 4 * error
    assert error == pytest.approx((2 * (matrix**2).sum() / 400) ** 0.5, rel=0.3)  # of normals


def test_the_draws_are_those_of_the_sweep_and_depend_on_both_seeds(model, images, labels):
    matrix, _, places = full(model, images, labels)
    found = hessian.along_draws(model, images, labels, 7, 5, 3)
    for draw, form in enumerate(curvature.totals(found)):
        unit = unit_noise(noisy_parameters(model), 7, 5, draw)
        z = np.concatenate([unit[name].flatten() for name in places])
        assert form == pytest.approx(z @ matrix @ z, rel=1e-6)
    assert (
        hessian.along_draws(model, images, labels, 7, 5, 2).items()
        <= {name: forms[:2] for name, forms in found.items()}.items()
    )


def test_batches_make_no_difference(model, images, labels, monkeypatch):
    probes = orthogonal(model)
    whole = hessian.quadratic_forms(model, images, labels, probes.__getitem__, 2)
    monkeypatch.setattr(hessian, "BATCH_SIZE", 7)  # 30 images: the last batch has 2
    parts = hessian.quadratic_forms(model, images, labels, probes.__getitem__, 2)
    for name, forms in whole.items():
        assert parts[name] == pytest.approx(forms, rel=1e-9)


def test_the_model_is_left_as_it_was(model, images, labels):
    model.train()
    before = content_digest(model.state_dict())
    with torch.no_grad():
        hessian.along_draws(model, images, labels, 0, 0, 2)
    assert content_digest(model.state_dict()) == before and not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_loss_that_is_not_finite_gives_no_number(model, images, labels):
    with torch.no_grad():
        model.third_more.weight.fill_(1e200)
    found = hessian.quadratic_forms(model, images, labels, orthogonal(model).__getitem__, 2)
    assert None in itertools.chain(*found.values())
    assert np.isnan(curvature.totals(found)).any()


def test_a_tensor_that_the_loss_does_not_see_has_no_curvature(images, labels):
    class Idle(Tiny):
        def forward(self, x):
            return self.second(self.activation(self.first(x[:, :2].double().flatten(1))))

    torch.manual_seed(0)
    found = hessian.along_draws(Idle(), images, labels, 0, 0, 2)
    assert set(found["third.weight"]) == {0.0} and 0.0 not in found["first.weight"]


@pytest.mark.parametrize("name", models.DEFAULT_ARCHITECTURES)
def test_every_architecture_has_second_derivatives(name):
    torch.manual_seed(0)
    model = models.build(name)
    for parameter in model.parameters():  # torchvision's heads start at zero, and hide the rest
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    parameters = noisy_parameters(model)
    images = torch.randint(0, 256, (3, 28, 28)).byte()
    found = hessian.quadratic_forms(
        model, images, torch.arange(3), lambda k: unit_noise(parameters, 0, 0, k), 1
    )
    assert list(found) == list(parameters)
    values = [f for (f,) in found.values()]
    assert None not in values and all(values)


# ---- Against what is measured ----------------------------------------------------------------


def pairs(model, images, labels, units, alphas, loss) -> pd.DataFrame:
    """Return rows as `stats` takes them, of draws `units` with both signs, and of α = 0."""
    total = len(images)
    rows = [(0.0, 0, 1, total * whole_loss(model, images, labels, loss).item())]
    for alpha, (k, unit), sign in itertools.product(alphas, enumerate(units), (1, -1)):
        with weight_noise(model, alpha, unit=unit, sign=sign), torch.no_grad():
            value = whole_loss(model, images, labels, loss).item()
        rows.append((alpha, k, sign, total * value))
    columns = ["alpha", "draw", "sign", "loss"]
    who = dict(zip(intervals.RUN, ("tiny", "clean", 0), strict=True))
    return pd.DataFrame(rows, columns=columns).assign(**who, correct=0, total=total)


def terms_of(rows: pd.DataFrame) -> pd.DataFrame:
    return curvature.curvature_term(curvature.pair_terms(rows))


@pytest.fixture
def linear() -> nn.Module:
    """A model that is linear in its two noisy tensors, which have very different scales."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(SIDE * SIDE, 2, bias=False), nn.Linear(SIDE * SIDE, 1)
            nn.init.normal_(self.one.weight, std=0.05)
            nn.init.normal_(self.two.weight, std=1.0)
            self.double()

        def forward(self, x):
            x = x[:, 0].double().flatten(1)
            return torch.cat([self.one(x), 0.3 * self.two(x)], dim=1)

    torch.manual_seed(0)
    return Linear()


ALPHAS = (0.1, 1.0, 20.0)
DRAWS = 16


def test_on_a_quadratic_loss_the_prediction_is_exact_in_expectation(linear, images, labels):
    """At every α: a quadratic loss is its second order."""
    probes = orthogonal(linear)
    exact = hessian.quadratic_forms(
        linear, images, labels, probes.__getitem__, len(probes), loss=squared
    )
    trace = curvature.totals(exact).mean()
    assert len(exact) == 2
    rows = pairs(linear, images, labels, probes, ALPHAS, squared)
    terms = terms_of(rows).set_index("alpha")
    assert (terms.pairs == len(probes)).all()
    for alpha in ALPHAS:
        assert terms.even[alpha] == pytest.approx(alpha**2 * trace / 2, rel=1e-6)


def test_on_a_quadratic_loss_each_pair_splits_into_its_linear_and_its_curvature_term(
    linear, images, labels
):
    matrix, gradient, _ = full(linear, images, labels, squared)
    drawn = np.random.default_rng(0).normal(size=(4, len(matrix))).astype(np.float32)
    rows = pairs(linear, images, labels, signs_of(drawn, linear), ALPHAS, squared)
    for draw, z in enumerate(drawn.astype(float)):
        terms = terms_of(rows[(rows.draw == draw) | (rows.alpha == 0)])
        terms = terms.set_index("alpha")
        for alpha in ALPHAS:
            assert terms.odd[alpha] == pytest.approx(alpha * gradient @ z, rel=1e-6)
            assert terms.even[alpha] == pytest.approx(alpha**2 * z @ matrix @ z / 2, rel=1e-6)


def test_beyond_the_second_order_the_prediction_fails_and_the_radius_says_where(
    model, images, labels
):
    """The tests above could hold for any loss if α had no effect on what is compared."""
    probes = orthogonal(model)
    found = hessian.quadratic_forms(model, images, labels, probes.__getitem__, len(probes))
    trace = curvature.totals(found).mean()
    alphas = np.array([0.01, 0.1, 5.0, 30.0, 1000.0])
    terms = terms_of(pairs(model, images, labels, probes, alphas, F.cross_entropy))
    prediction = alphas**2 * trace / 2
    ratio = prediction / terms.even
    assert ratio.iloc[0] == pytest.approx(1, rel=0.01) and not 0.5 < ratio.iloc[-1] < 2
    level = 2 * terms.even.iloc[1] / alphas[1] ** 2
    low, high = flatness.radius(alphas, terms.even.to_numpy(), level)
    assert 0.1 < low == high < next(a for a, r in zip(alphas, ratio) if not 0.5 <= r <= 2)


class Kinked(nn.Module):
    """Many units, so that noise crosses kinks of some of them at any α."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.last = nn.Linear(SIDE * SIDE, 300), nn.Linear(300, 3)
        self.activation = activation
        self.double()

    def forward(self, x):
        return self.last(self.activation(self.first(x[:, 0].double().flatten(1) - 0.5)))


def trained(activation, images, labels) -> Kinked:
    torch.manual_seed(0)
    model = Kinked(activation)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        whole_loss(model, images, labels).backward()
        optimizer.step()
    return model


def test_the_hessian_has_all_of_the_curvature_of_tanh_and_not_of_relu():
    """The same net, data and draws: kinks alone make the difference."""
    stream = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (60, SIDE, SIDE), generator=stream).byte()
    labels = (images.float().mean((1, 2)) > 127).long() + (images[:, 0, 0] > 100)
    shares = {}
    for activation in (torch.tanh, torch.relu):
        model = trained(activation, images, labels)
        units = [unit_noise(noisy_parameters(model), 0, 0, draw) for draw in range(DRAWS)]
        rows = pairs(model, images, labels, units, (0.01, 0.03), F.cross_entropy)
        forms = curvature.totals(hessian.along_draws(model, images, labels, 0, 0, DRAWS))
        who = dict(zip(intervals.RUN, ("tiny", "clean", 0), strict=True))
        table = pd.DataFrame({"draw": range(DRAWS), "form": forms}).assign(**who)
        found = flatness.of_runs(curvature.pair_terms(rows, table)).iloc[0]
        assert found.pairs == DRAWS
        shares[activation] = found.share, found.share_error
    assert shares[torch.tanh] == (pytest.approx(1, abs=0.005), pytest.approx(0, abs=0.001))
    share, error = shares[torch.relu]
    assert share * np.exp(3 * error) < 0.9
