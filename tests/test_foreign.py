"""Models that nobody here wrote, through the front door: measured or refused with a sentence, and
restored bit for bit."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import evaluate
from config import Sweep
from machine.checks import UsageError
from noise import is_clean
from probes import own, own_plan
from sources.examples import Batches
from sources.own import Own, counting, inner
from sources.project import Project
from store import records
from store.checkpoints import content_digest
from store.own import Task

SWEEP = Sweep(alphas=(0.0, 2.0), draws=1)


class Recurrent(nn.Module):
    """A stock recurrent layer that reads tokens."""

    def __init__(self, kind):
        super().__init__()
        self.word, self.layer = nn.Embedding(11, 8), kind(8, 12, 2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.layer(self.word(x))[0][:, -1])


class Translator(nn.Module):
    """`nn.Transformer` with logits for each token, and the embedding as its last layer."""

    def __init__(self, tied: bool = False):
        super().__init__()
        self.word = nn.Embedding(11, 16)
        self.net = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.head = nn.Linear(16, 11, bias=False)
        if tied:
            self.head.weight = self.word.weight

    def forward(self, source, target):
        return self.head(self.net(self.word(source), self.word(target)))


class Conv1D(nn.Module):
    """A linear layer whose weight is transposed, as GPT-2 of the library transformers has it."""

    def __init__(self, width: int, inputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, width) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x @ self.weight + self.bias


class RMSNorm(nn.Module):
    """A norm that is not torch's."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * x.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt()


class Output(dict):
    """What such models return: a dictionary whose entries are attributes, too."""

    __getattr__ = dict.__getitem__


class Block(nn.Module):
    """A block in the style of that library: keyword inputs, and an output with logits."""

    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(11, 16)
        self.h = nn.ModuleList(
            nn.ModuleDict({"ln": RMSNorm(16), "up": Conv1D(32, 16), "down": Conv1D(16, 32)})
            for _ in range(2)
        )
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.word.weight

    def forward(self, input_ids, attention_mask):
        x = self.word(input_ids) * attention_mask[..., None]
        for part in self.h:
            x = x + part["down"](F.gelu(part["up"](part["ln"](x))))
        return Output(logits=self.head(x))


def tokens(*shape):
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(1))


def pixels(side: int = 64, dtype=torch.float32):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)).to(dtype)


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.Linear(16, 3))


def classifier(name: str, side: int = 64, **more):
    def make():
        return torchvision.models.get_model(name, weights=None, num_classes=3, **more)

    return make, pixels(side), torch.tensor([0, 1]), {}


MODELS = {
    "gru": (lambda: Recurrent(nn.GRU), tokens(4, 7), tokens(4) % 3, {}),
    "lstm": (lambda: Recurrent(nn.LSTM), tokens(4, 7), tokens(4) % 3, {}),
    "transformer": (Translator, (tokens(4, 6), tokens(4, 5)), tokens(4, 5), {}),
    "tied": (lambda: Translator(True), (tokens(4, 6), tokens(4, 5)), tokens(4, 5), {}),
    "block": (
        Block,
        {"input_ids": tokens(4, 6), "attention_mask": torch.ones(4, 6)},
        tokens(4, 6),
        {"noisy": ("h.*.up.weight", "h.*.down.weight"), "clean": ("h.*.bias", "h.*.ln.weight")},
    ),
    "half": (lambda: small().to(torch.bfloat16), pixels(4, torch.bfloat16), tokens(2) % 3, {}),
    "parallel": (lambda: nn.DataParallel(small()), pixels(4), tokens(2) % 3, {}),
    "compiled": (lambda: torch.compile(small()), pixels(4), tokens(2) % 3, {}),
    "vit_b_16": classifier("vit_b_16", 32, image_size=32),
    **{
        name: classifier(name)
        for name in (
            *("alexnet", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "resnet18"),
            *("shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf", "efficientnet_b0"),
            *("densenet121", "convnext_tiny", "swin_v2_t"),
        )
    },
    "googlenet": classifier("googlenet", aux_logits=False, init_weights=False),
}
QUICK = ("gru", "transformer", "tied", "block", "half", "parallel", "compiled", "squeezenet1_1")


def case(name: str):
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


def through_the_door(model, x, y, tmp_path, **patterns):
    project = Project(tmp_path / "theirs.py")
    data = Batches(lambda: [(x, y)])
    task = Task(data.digest, dataset="theirs.py", chance=0.1, **patterns)
    mine = Own("theirs", {("a", 0): model}, counting(data, project, "theirs:"), task)
    mine.project = project
    plan = own_plan.make_plan(mine, SWEEP)
    own.measure_all(mine, plan, tmp_path, evaluate.sweep, {}, say=lambda line: None)
    (path,) = (tmp_path / "runs").glob("*.json")
    return records.load(path)["measurements"][0]["rows"]


@pytest.mark.parametrize("name", [case(name) for name in MODELS])
def test_a_model_is_measured_and_is_what_it_was(name, tmp_path):
    make, x, y, patterns = MODELS[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    for parameter in model.parameters():  # a head of zeros hides all that is before it
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    before = content_digest(dict(model.state_dict()))
    places = [p.data_ptr() for p in model.parameters()]
    (start, noisy) = through_the_door(model, x, y, tmp_path, **patterns)
    assert content_digest(dict(model.state_dict())) == before and is_clean(model)
    assert [p.data_ptr() for p in model.parameters()] == places
    assert start[4] == noisy[4] == y.numel() and start[5] != noisy[5]


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_wrapped_model_has_the_noise_of_the_one_inside(wrap, tmp_path):
    torch.manual_seed(0)
    model, (_, x, y, _) = small(), MODELS["parallel"]
    (tmp_path / "b").mkdir()
    plain = through_the_door(model, x, y, tmp_path)
    assert through_the_door(wrap(model), x, y, tmp_path / "b") == plain
    assert inner(nn.DataParallel(wrap(model))) is model


def test_a_model_that_compiles_itself_sees_the_noise(tmp_path):
    torch.manual_seed(0)
    model, (_, x, y, _) = small(), MODELS["parallel"]
    (tmp_path / "b").mkdir()
    plain = through_the_door(model, x, y, tmp_path)
    model.compile(backend="eager")
    assert through_the_door(model, x, y, tmp_path / "b") == plain


REFUSED = {
    "a script": (
        lambda: torch.jit.script(small()),
        (pixels(4), tokens(2)),
        "NOISY = ['1.weight', '3.weight']\nCLEAN = ['*.bias', '2.weight']",
    ),
    "a norm and a transposed layer": (
        Block,
        ("block",),
        "NOISY = ['h.*.up.weight', 'h.*.down.weight']\nCLEAN = ['h.*.ln.weight', 'h.*.up.bias', "
        "'h.*.down.bias']",
    ),
    "no logits": (lambda: nn.GRU(4, 5), (torch.ones(2, 3, 4), tokens(2)), "(B, classes)"),
    "nothing to move": (nn.Flatten, (pixels(4), tokens(2)), "it has no parameters"),
    "lazy": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        (pixels(4), tokens(2)),
        "has no values yet",
    ),
    "whole numbers": (
        lambda: torch.ao.quantization.quantize_dynamic(small(), {nn.Linear}),
        (pixels(4), tokens(2)),
        "carries noise",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_cannot_be_measured_is_refused_with_what_to_write(name, tmp_path):
    make, data, words = REFUSED[name]
    x, y = MODELS[data[0]][1:3] if len(data) == 1 else data
    with pytest.raises(UsageError) as error:
        through_the_door(make(), x, y, tmp_path)
    assert words in str(error.value)
    assert not (tmp_path / "runs").exists()
