"""`evaluate.py --units`: how large a noise is in given weights."""

import pytest
import torch
from torch import nn

import noises
from machine.checks import UsageError
from noises.words import read_noise, read_units
from reporting.units import WHOLE, say_units


@pytest.fixture
def parameters() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a": nn.Linear(300, 200).weight, "b": nn.Linear(50, 60).weight}


def test_the_gaussian_one_is_its_own_unit_and_rounding_has_no_draws(parameters):
    asked = read_units(["gaussian:0.3", "quantization:5", "gaussian_max:0.08"])
    text = say_units("mine", parameters, asked, draws=3)
    *_, a, _, whole = text.splitlines()
    assert a.startswith("a ") and whole.startswith(WHOLE)
    gaussian, rounded, of_max = whole.removeprefix(WHOLE).replace(" ± ", "±").split()
    assert float(gaussian.split("±")[0]) == pytest.approx(0.3, abs=0.005)
    w = parameters["a"].detach()
    step = w.abs().max() / 15  # 5 bits, symmetric: 15 steps to either side
    size = ((w / step).round() * step - w).square().mean().sqrt() / w.std(correction=0)
    _, _, of_a, _ = a.replace(" ± ", "±").split()
    assert float(of_a) == pytest.approx(size.item(), abs=1e-4)
    assert "±" not in rounded and "±" in of_max
    assert "5 bits" in text


def test_bits_are_understood_where_strengths_are_read():
    [word] = read_noise(["quantization:8,4"])
    strengths = [float(s) for s in word.partition(":")[2].split(",")]
    assert [noises.find("quantization").show(s) for s in strengths] == ["8 bits", "4 bits"]


@pytest.mark.parametrize(
    ("word", "said"),
    [("gaussian", "takes a name with a strength"), ("reram:7", "reram takes"), ("pcn:1", "pcn")],
)
def test_what_means_nothing_is_refused(word, said):
    with pytest.raises(UsageError, match=said) as error:
        read_units([word])
    assert str(error.value).startswith("--units: ")
