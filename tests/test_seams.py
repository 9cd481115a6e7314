"""The four seams: a new member is a few lines beside the program, and goes the whole way through.

Each member is registered by a script of its own, as a user's would be, which then is the program:
its workers import it too. Nothing of the repository is edited.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import evaluate
from conftest import ROOT
from noise import ParameterError, noisy_parameters
from store.records import load

pytestmark = pytest.mark.slow

SMALL = "--seeds 0 1 --epochs 2 --train-size 256 --batch-size 32 --test-size 200 --draws 2"
SMALL = f"{SMALL} --alphas 0 0.3 1 --device cpu"

NOISE = """
import noises
def lose(w, z, share):
    return w * (z >= share)
noises.FAMILIES["lost"] = noises.Family(
    "every weight is 0", (0.1, 0.5), lose, unit=lambda shape, generator: generator.random(shape)
)
"""

METHOD = """
import config, methods, torch
import torch.nn.functional as F
class Ascending(methods.Method):
    cost = 2.0
    def __init__(self, *setting, rho, **rest):
        super().__init__(*setting, **rest)
        self.rho, self.steps = rho, 0
    def gradients(self, x, y):
        weights = list(self.model.parameters())
        first = torch.autograd.grad(F.cross_entropy(self.model(x), y), weights)
        before = [p.detach().clone() for p in weights]
        self.steps += 1
        with torch.no_grad():
            for p, g in zip(weights, first):
                p.add_(g, alpha=self.rho * self.steps)
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        with torch.no_grad():
            for p, clean in zip(weights, before):
                p.copy_(clean)
        return loss
    def state_dict(self):
        return {"steps": self.steps}
    def load_state_dict(self, state):
        self.steps = state.get("steps", 0)
methods.METHODS["ascending"] = Ascending
config.REGIMES["uphill"] = config.Regime("ascending", parameters={"rho": RHO})
"""

DATASETS = """
import data, torch, torch.nn.functional as F
from config import Shape
from sources.spec import DatasetSpec
class Small(DatasetSpec):
    def read(self, name, data_dir, known):
        mnist = data.DATASETS["mnist"].read("mnist", data_dir, known)
        return tuple(shrink(a) if a.ndim == 3 else a for a in mnist)
def shrink(a):
    return F.avg_pool2d(torch.tensor(a)[:, None, 2:26, 2:26].float(), 3).byte().numpy()
class Tinted(DatasetSpec):
    def read(self, name, data_dir, known):
        mnist = data.DATASETS["mnist"].read("mnist", data_dir, known)
        return tuple(tint(a[:2000]) if a.ndim == 3 else a[:2000] for a in mnist)
def tint(a):
    x = F.pad(torch.tensor(a), (2, 2, 2, 2))[:, None]
    return torch.cat([x, x // 2, 255 - x], 1).numpy()
def flip(x, generator):
    return x.flip(-1) if torch.rand((), generator=generator) < 0.5 else x
data.DATASETS["small"] = Small(
    train_count=60000, test_count=10000, shape=Shape(1, 8, 8, 10), mean=0.15, std=0.3
)
data.DATASETS["tinted"] = Tinted(
    train_count=2000, test_count=2000, shape=Shape(3, 32, 32, 10),
    mean=(0.1, 0.05, 0.9), std=(0.3, 0.15, 0.3), augment=flip,
)
"""

TEXT = """
import data, models, numpy as np, torch
from config import Shape
from sources.spec import DatasetSpec
class Words(DatasetSpec):
    def read(self, name, data_dir, known):
        def part(n, seed):
            tokens = np.random.default_rng(seed).integers(0, 8, (n, 1, 1, 16), np.uint8)
            return tokens, (tokens == 0).sum((1, 2, 3)).clip(max=2)  # how often the first word is
        return *part(512, 0), *part(200, 1)
class Reader(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.word = torch.nn.Embedding(8, 16)
        self.start = torch.nn.Parameter(torch.zeros(1, 1, 16))
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
        self.head = torch.nn.Linear(16, shape.classes)
    def forward(self, x):
        words = self.word((255 * x).round().long().flatten(1))
        start = self.start.expand(len(words), -1, -1)
        return self.head(self.layer(torch.cat([start, words], 1))[:, 0])
data.DATASETS["words"] = Words(
    train_count=512, test_count=200, shape=Shape(1, 1, 16, 3), mean=0.0, std=1.0
)
models.ARCHITECTURES["reader"] = Reader
models.PATTERNS["reader"] = {"clean": ("net.start",)}
"""


class Program:
    """The program with a member that it did not have."""

    def __init__(self, folder: Path, member: str, data_dir: Path):
        folder.mkdir(exist_ok=True)
        self.folder, self.data_dir = folder, data_dir
        for name in ("run_experiments", "report", "evaluate"):
            text = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{member}\n"
            main = "tyro.cli(program.main)" if name == "evaluate" else "program.main()"
            text += f'if __name__ == "__main__":\n    import tyro, {name} as program\n'
            (folder / f"{name}.py").write_text(f"{text}    sys.exit({main})\n")

    def line(self, name: str, words: str) -> list[str]:
        folders = ["--results-dir", self.folder / "results"]
        if name != "report":
            folders += ["--data-dir", self.data_dir, "--checkpoint-dir", self.folder / "ckpt"]
        script = self.folder / f"{name}.py"  # -P: it is not to be found under our module's name
        return [*map(str, (sys.executable, "-P", script, *words.split(), *folders))]

    def __call__(self, name: str, words: str = "") -> str:
        done = subprocess.run(self.line(name, words), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def records(self) -> dict[str, dict]:
        return {p.stem: load(p) for p in sorted((self.folder / "results" / "runs").glob("*.json"))}


@pytest.fixture
def program(tmp_path, data_dir, mnist):
    return lambda member, name="home": Program(tmp_path / name, member, data_dir)


# ---- 1. A noise family -----------------------------------------------------------------------


def test_a_noise_that_is_not_added_and_has_no_sign(program):
    home = program(NOISE)
    home("run_experiments", f"mlp {SMALL} --noise lost:0.25,0.75 --antithetic")
    results = home.folder / "results"
    for record in home.records().values():
        (block,) = [b for b in record["measurements"] if b["settings"].get("noise") == "lost"]
        points = [(row[0], row[1], row[2]) for row in block["rows"]]
        assert points == [(0.0, 0, 1), *((p, k, 1) for p in (0.25, 0.75) for k in (0, 1))]
        accuracy = [row[3] for row in block["rows"]]
        assert accuracy[0] > max(accuracy[3:])  # what has lost 75% of its weights is worse
    sweep = pd.read_csv(results / "sweep.csv")
    assert set(sweep.noise) == {"gaussian", "lost"}
    assert len(sweep[sweep.noise == "lost"]) == 4 * 5
    assert {0.25, 0.75} < set(pd.read_csv(results / "families.csv").alpha_test)
    assert "lost" in (results / "report.html").read_text()
    assert "lost" in (results / "report.md").read_text()
    before = {p.name: p.read_bytes() for p in results.iterdir() if p.is_file()}
    home("report")
    assert {p.name: p.read_bytes() for p in results.iterdir() if p.is_file()} == before
    assert "complete: reused" in home("run_experiments", f"mlp {SMALL} --noise lost:0.25,0.75")


def test_a_plan_with_noise_that_is_not_known_is_refused_in_a_sentence(program, command):
    home = program(NOISE)
    home("run_experiments", f"mlp {SMALL} --seeds 0 --noise lost")
    done = command("report.py", "--results-dir", home.folder / "results", folders=False)
    assert done.returncode == 2 and "lost" in done.stderr and done.stderr.count("\n") == 1


# ---- 2. A training method --------------------------------------------------------------------


def test_a_method_with_two_gradients_and_a_state_is_killed_and_goes_on(program):
    words = f"mlp {SMALL} --regimes clean uphill --seeds 0 --epochs 4 --workers 1"
    whole = program(METHOD.replace("RHO", "0.001"), "whole")
    whole("run_experiments", words)
    killed = program(METHOD.replace("RHO", "0.001"), "killed")
    process = subprocess.Popen(
        killed.line("run_experiments", words),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if re.search(r"uphill.* epoch 1/4", line):
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert "going on after epoch" in killed("run_experiments", words)
    assert killed.records().keys() == whole.records().keys()
    for name, record in whole.records().items():
        assert killed.records()[name]["weights"] == record["weights"]
        assert killed.records()[name]["measurements"] == record["measurements"]
    assert "uphill" in (killed.folder / "results" / "report.md").read_text()
    (mine,) = [r for r in whole.records().values() if r["identity"]["regime"] == "uphill"]
    assert mine["identity"]["method"] == {"name": "ascending", "rho": 0.001}

    # a changed parameter is another run, and the clean one the same
    program(METHOD.replace("RHO", "0.002"), "whole")("run_experiments", words)
    found = [r["identity"] for r in whole.records().values()]
    assert sorted(w["regime"] for w in found) == ["clean", "uphill", "uphill"]


# ---- 3. Data of another shape ----------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "pixels"), [("small", 64), ("tinted", 3 * 32 * 32)])
def test_images_of_another_shape(program, dataset, pixels):
    home = program(DATASETS)
    home("run_experiments", f"mlp cnn resnet18 vit {SMALL} --seeds 0 --dataset {dataset}")
    summary = pd.read_csv(home.folder / "results" / "summary.csv")
    assert len(summary) == 8 and summary.acc_0.between(0, 1).all()
    (path,) = (home.folder / "ckpt").glob("mlp-clean-*.pt")
    weights = torch.load(path, weights_only=True)["model"]
    assert weights["net.0.weight"].shape == (512, pixels)
    out = home("evaluate", "mlp --test-size 200")
    assert out.count("acc@0 ") == 2


# ---- 4. A model of another kind --------------------------------------------------------------


def test_a_text_classifier_with_a_raw_token(program):
    home = program(TEXT)
    words = "reader --dataset words --epochs 4 --batch-size 32 --alphas 0 0.3 1 --draws 2"
    home("run_experiments", f"{words} --antithetic --seeds 0 1 --device cpu")
    summary = pd.read_csv(home.folder / "results" / "summary.csv")
    assert len(summary) == 4 and (summary.acc_0 > 0.5).all()  # a third is chance
    assert "reader" in (home.folder / "results" / "report.md").read_text()
    out = home("evaluate", "reader --by-layer --draws 2")
    assert "net.layer.self_attn.in_proj_weight" in out and "net.start" not in out


class Attending(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.start = torch.nn.Parameter(torch.ones(16))
        self.head = torch.nn.Linear(16, 3)

    def forward(self, x):
        return self.head(x + self.start)


def test_any_model_is_measured_by_whatever_measures_it():
    torch.manual_seed(0)
    model, x, y = Attending(), torch.randn(60, 16), torch.arange(60) % 3

    def measure(model):
        return int((model(x).argmax(1) == y).sum()), 60, None

    points = [(0.0, 0, 1), (1.0, 0, 1), (1.0, 1, 1)]
    with pytest.raises(ParameterError, match=r"clean=\['start'\]"):
        list(evaluate.sweep(model, measure, points, 0, 0))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    alone = list(evaluate.sweep(model, measure, points, 0, 0, clean=["start"]))
    both = list(evaluate.sweep(model, measure, points, 0, 0, noisy=["start"]))
    assert alone[0] == both[0] and [row[:3] for row in alone] == [list(p) for p in points]
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert list(noisy_parameters(model, clean=["start"])) == ["head.weight"]


def test_float_images_are_not_taken_for_bytes(mnist):
    floats = mnist.test_images[:10] / 255
    with pytest.raises(TypeError, match="taken as bytes from 0 to 255"):
        evaluate.measure(torch.nn.Flatten(), floats, mnist.test_labels[:10])
