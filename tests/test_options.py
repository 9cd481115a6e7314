"""options.py: whatever is wrong on the command line is said in one line before work starts."""

import contextlib
import dataclasses
import io
import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import data
from config import DEFAULT_REGIMES, REGIMES, Recipe, Regime, Sweep
from damage import snapshot
from machine import offers
from machine.checks import UsageError, choose_device, fail
from methods import METHODS, Method
from models import ARCHITECTURES, DEFAULT_ARCHITECTURES
from runner import options
from runner.options import Options


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An almost empty current folder, for the relative paths."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to nothing").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "runs").write_bytes(b"old")
    return tmp_path


def attempt(words: list[str]) -> tuple[int, str, Options | None]:
    """Read and check a command line as the program does; return its status, message, options."""
    out, err, asked = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            asked = options.read(words)
            try:
                options.check(asked)
            except UsageError as error:
                fail(error)
        except SystemExit as end:
            return end.code, err.getvalue(), None
    return 0, err.getvalue(), asked


def is_one_short_line(message: str) -> bool:
    return message.count("\n") == 1 and message.endswith("\n") and len(message) < 250


# ---- What is right ---------------------------------------------------------------------------


def test_no_words_mean_the_default_experiment():
    status, message, asked = attempt([])
    assert (status, message) == (0, "")
    plan = options.make_plan(asked)
    assert plan.architectures == DEFAULT_ARCHITECTURES and plan.regimes == DEFAULT_REGIMES
    assert plan.seeds == (0, 1, 2) and (plan.recipe, plan.sweep) == (Recipe(), Sweep())


def test_of_epochs_and_a_budget_one_is_given(here):
    assert attempt(["--epochs", "7"])[2].recipe.epochs == 7
    before = snapshot(here)
    status, message, _ = attempt(["--budget", "4", "--epochs", "9"])
    assert status == 2 and is_one_short_line(message), message
    assert message.split(": ")[1] == "--epochs" and "--budget" in message
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("noisy --train-noise pcm", "--alpha-train: pcm has no usual strength"),
        ("noisy distillation --train-noise pcm --alpha-train 1", "pcm is for regimes of injection"),
        ("sign_ascent --train-noise pcm --alpha-train 1", "sign_ascent trains under gaussian"),
        ("varied --train-noise pcm --alpha-train 1", "such as noisy; none of them is there"),
        ("varied varied:noise=1", "trains without the noise of a regime"),
        ("noisy:noise=2 --train-noise bit_errors --alpha-train 0.6", "0 to 1, not 1.2"),
    ],
)
def test_training_noise_that_a_regime_does_not_take_is_refused(here, words, said):
    before = snapshot(here)
    status, message, _ = attempt(["--regimes", "clean", *words.split()])
    assert status == 2 and is_one_short_line(message) and said in message, message
    assert snapshot(here) == before


def test_every_option_arrives():
    line = (
        "vit mlp --dataset fashion_mnist --regimes noisy --seeds 5 3 --batch-size 9 "
        "--budget 7 --train-noise pcm --peak-lr 0.1 --weight-decay 0 --alpha-train 0.7 "
        "--train-size 50 --validation-size 40 --alphas 1 0 1e-3 --draws 2 --test-size 30 "
        "--noise-seed 8 --precision 0.01 --max-draws 50 --antithetic --find-break --two-stage "
        "--device cpu --workers 1024 --threads 1 --shard 2/3 --data-dir folder "
        "--checkpoint-dir new/er --results-dir ./new --noise gaussian"
    )
    status, message, asked = attempt(line.split())
    assert (status, message) == (0, "")
    assert (asked.device, asked.workers, asked.threads, asked.shard) == ("cpu", 1024, 1, "2/3")
    folders = (asked.data_dir, asked.checkpoint_dir, asked.results_dir)
    assert folders == (Path("folder"), Path("new/er"), Path("new"))
    plan = options.make_plan(asked)
    assert (plan.architectures, plan.regimes, plan.seeds) == (("vit", "mlp"), ("noisy",), (5, 3))
    assert plan.recipe == Recipe("fashion_mnist", 7, 9, 0.1, 0.0, 0.7, 50, 40, 7, "pcm")
    assert plan.sweep == Sweep(
        (0.0, 0.001, 1.0), 2, 30, 8, 0.01, 50, True, find_break=True, two_stage=True
    )
    given_ = {
        f"--{f.name}".replace("_", "-") for c in (Recipe, Sweep) for f in dataclasses.fields(c)
    }
    assert given_ - {"--epochs"} <= set(line.split())  # which is not beside a budget


@pytest.mark.parametrize(
    ("line", "train", "test"),
    [
        ("--train-size 60000 --test-size 10000", 0, 0),
        ("--train-size 59999 --test-size 9999", 59_999, 9_999),
        ("--validation-size 10000 --train-size 50000 --test-size 10000", 0, 0),
        ("--validation-size 100 --test-size 100", 0, 0),
    ],
)
def test_the_whole_dataset_has_one_name(line, train, test):
    """Else the same training would have two fingerprints."""
    plan = options.make_plan(attempt(line.split())[2])
    assert (plan.recipe.train_size, plan.sweep.test_size) == (train, test)


@pytest.mark.parametrize("line", [["--help"], ["-h"], ["mlp", "--seeds", "x", "--help"]])
def test_help_is_no_error(line):
    assert attempt(line)[0] == 0


# ---- What is wrong ---------------------------------------------------------------------------

LONG = "x" * 300
BAD = {
    "ARCH": ["cnnn", "mlp mlp", "MLP", "mlp,cnn", "лп", "-- --epochs", LONG * 20],
    "--dataset": ["mnits", "''", LONG, "mnist/../mnist"],
    "--regimes": ["", "clear", "noisy noisy", "clean Noisy"],
    "--seeds": ["", "0 0", "-1", "1 2 1", "4294967296", "9" * 400],
    "--epochs": ["0", "-1", "100001", "9" * 400],
    "--batch-size": ["0", "-1", "60001"],
    "--peak-lr": ["0", "-1", "nan", "inf", "1e999"],
    "--weight-decay": ["-0.1", "nan", "inf"],
    "--alpha-train": ["-0.1", "nan", "inf", "-inf"],
    "--train-size": ["-1", "60001", "60000 --validation-size 1"],
    "--validation-size": ["-1", "60000", "9" * 99],
    "--alphas": ["0.1", "0.1 0.2", "0 -0.1", "0 nan", "0 inf", "0 0", "0 0.1 1e-1", "0 -0"],
    "--draws": ["0", "-1", "9" * 99],
    "--test-size": ["-1", "10001", "101 --validation-size 100"],
    "--noise-seed": ["-1", "4294967296"],
    "--precision": ["-0.1", "nan", "inf", "0.5", "2"],
    "--max-draws": ["0", "-1", "9" * 99, "9 --precision 0.1", "20 --draws 21 --precision 0.1"],
    "--shard": ["0/2", "3/2", "1/0", "2", "/", "a/b", "-1/2", "1/100001", "9" * 5000 + "/9"],
    "--device": [
        "cuda:9999",
        "gpu",
        "cuda:",
        "cuda:-1",
        "cuda:x",
        "cuda:²",
        "''",
        "cuda:" + "9" * 5000,
    ],
    "--workers": ["-1", "0", "10000"],
    "--threads": ["0", "-1", "10000"],
    "--noise": ["", "gausian", "gaussian:0.1", "gaussian gaussian"],
    "--data-dir": ["", "file", "file/below", "done/runs"],
    "--checkpoint-dir": ["", "file", "link to nothing", "loop", "loop/below", LONG, f"new/{LONG}"],
    "--results-dir": [
        "",
        "done",
        "file/a/b",
        "/dev/null",
        "a/" * 3000,
        "nul\0",
        "line\nfeed/" + LONG,
    ],
}
ROWS = [(option, text) for option, texts in BAD.items() for text in texts]


def words_of(option: str, text: str) -> list[str]:
    """Return the words of a row; a folder's name may have spaces."""
    return [text] if option.endswith("-dir") else [word.strip("'") for word in text.split()]


@pytest.mark.parametrize(("option", "text"), ROWS)
def test_a_wrong_value_is_said_in_one_line_that_names_the_option(here, option, text):
    words = words_of(option, text)
    before = snapshot(here)
    status, message, _ = attempt(words if option == "ARCH" else [option, *words])
    assert status == 2
    assert is_one_short_line(message), message
    program, named, rest = message.split(": ", 2)
    assert program == Path(sys.argv[0]).name and named == option
    assert "takes" in rest or "is none of" in rest or "is not there" in rest
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *((option, "x") for option in ("--epochs", "--seeds", "--alphas", "--draws", "--workers")),
        *((option, "1.5") for option in ("--epochs", "--batch-size", "--threads", "--test-size")),
        *((option, "") for option in ("--epochs", "--device", "--data-dir", "--alpha-train")),
        ("--epochs", "9" * 5000),
        ("--seeds", "0,1,2"),
        ("--alphas", "0 0.1 mlp"),
        ("--epoch", "3"),
        ("--nothing", ""),
        ("--alpha", "0"),
    ],
)
def test_what_cannot_be_parsed_is_said_in_one_line_that_names_the_option(here, option, text):
    before = snapshot(here)
    status, message, _ = attempt([option, *text.split()])
    assert status == 2 and is_one_short_line(message), message
    assert message.split(": ")[1] == option
    assert (
        ": takes a" in message
        or "takes numbers" in message
        or "takes whole" in message
        or ("is none of the options" in message)
    )
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("resnet1", "resnet18"),
        ("mlp cnm", "cnn"),
        ("vitb16", "vit_b_16"),
        ("--dataset mnits", "mnist"),
        ("--dataset fashion-mnist", "fashion_mnist"),
        ("--regimes clean nosy", "noisy"),
        ("--epoch 3", "--epochs"),
        ("--alpha-tran 3", "--alpha-train"),
    ],
)
def test_what_was_probably_meant_is_suggested(line, meant):
    status, message, _ = attempt(line.split())
    assert status == 2 and f"did you mean '{meant}'?" in message


class Careful(Method):
    """A method with a parameter, which has a bound."""

    def __init__(self, *setting, rho, **rest):
        super().__init__(*setting, **rest)
        if not rho > 0:
            raise ValueError("rho is a distance, above 0")


class Particular(Method):
    """A method that wants more of its model than there is before a run."""

    def __init__(self, model, *setting, **rest):
        super().__init__(model, *setting, **rest)
        self.last = model.head.weight


@pytest.mark.parametrize(
    ("regime", "said"),
    [
        (
            Regime("carefull"),
            "'carefull' is none of plain, injection",
        ),
        (Regime("carefull"), "did you mean 'careful'?"),
        (Regime("careful"), "rho"),
        (Regime("careful", parameters={"rho": 0.1, "eta": 1.0}), "Careful takes no eta"),
        (Regime("careful", parameters={"rho": -1.0}), "rho is a distance, above 0"),
        (Regime("injection", parameters={"rho": 0.1}), "Injection takes no rho"),
        (Regime("careful", parameters={"rho": 0.1}), None),
        (Regime("particular"), None),
    ],
)
def test_a_regime_is_of_a_known_method_and_its_parameters(here, monkeypatch, regime, said):
    monkeypatch.setitem(METHODS, "careful", Careful)
    monkeypatch.setitem(METHODS, "particular", Particular)
    monkeypatch.setitem(REGIMES, "mine", regime)
    before = snapshot(here)
    status, message, _ = attempt(["--regimes", "clean", "mine"])
    if said is None:
        assert status == 0, message
    else:
        assert status == 2 and is_one_short_line(message), message
        assert message.split(": ")[1] == "--regimes" and "mine" in message and said in message
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sam:rh=0.1", "sam takes rho=0.2, not 'rh'"),
        ("sam:rho", "rho takes a number, not ''"),
        ("sam:rho=nan", "rho takes a number, not 'nan'"),
        ("quantized:bits=2.5", "bits takes a whole number, not '2.5'"),
        ("sam:rho=0.10", "of this value write sam:rho=0.1"),
        ("sam:rho=0.12345670", "of this value write sam:rho=0.1234567"),
        ("sam:rho=1e400", "rho takes a number, not '1e400'"),
        ("noisy:noise=-1", "takes a noise ≥ 0"),
    ],
)
def test_another_value_that_cannot_be_read_is_explained(here, word, said):
    before = snapshot(here)
    status, message, _ = attempt(["--regimes", "clean", word])
    assert status == 2 and is_one_short_line(message), message
    assert message.split(": ")[1] == "--regimes" and word in message and said in message
    assert snapshot(here) == before


BEYOND = {
    "sam": ["rho=-1"],
    "asam": ["rho=-1", "eta=-1"],
    "awp": ["gamma=-1"],
    "sign_awp": ["zeta=-1", "steps=0"],
    "rwp": ["gamma=-1", "mix=2"],
    "sign_ascent": ["beta=-1", "zeta=-1", "steps=0"],
    "ivon": ["lr=-1", "ess=0", "hess_init=0", "beta1=1", "beta2=1", "delta=-1"],
    "ema": ["decay=1"],
    "swa": ["start=1"],
    "clipping": ["sigmas=0"],
    "dropout": ["rate=1"],
    "label_smoothing": ["smoothing=1"],
    "distillation": ["beta=2", "temperature=0"],
    "quantized": ["bits=1"],
    "randbet": ["rate=2", "clamp=0", "w_max=0"],
    "ramped": ["strength=-1", "ramp=2"],
    "varied": ["spread=-1"],
    "antithetic": ["strength=-1"],
}
"""Values that a method cannot use."""


@pytest.mark.parametrize("word", [f"{name}:{v}" for name, all_ in BEYOND.items() for v in all_])
def test_a_method_takes_its_parameters_within_their_range(word):
    if METHODS[REGIMES[word.partition(":")[0]].method].lacks():
        pytest.skip("a package is not here")
    status, message, _ = attempt(["--regimes", "clean", word])
    assert status == 2 and is_one_short_line(message), message
    assert message.split(": ")[1] == "--regimes" and word in message and " takes " in message


def test_nothing_is_suggested_where_nothing_is_near():
    _, message, _ = attempt(["transformer-xl"])
    assert message.endswith(f"is none of {', '.join(ARCHITECTURES)}\n")


# ---- The machine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (0, "cuda", None),
        (0, "cuda:0", None),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
        (2, "cuda:2", None),
    ],
)
def test_a_device_is_one_that_is_there(monkeypatch, gpus, name, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if device:
        assert choose_device(name) == torch.device(device)
    else:
        status, message, _ = attempt(["--device", name])
        assert status == 2 and is_one_short_line(message)
        assert f"--device: {name} is not there; this machine has {gpus} GPUs" in message


def test_threads_are_at_most_the_cores(monkeypatch):
    monkeypatch.setattr(offers, "cores", lambda: 4)
    assert attempt(["--threads", "4"])[0] == 0
    status, message, _ = attempt(["--threads", "5"])
    assert status == 2 and "from 1 to 4 (this machine's cores), got 5" in message


@pytest.mark.parametrize("option", ["--checkpoint-dir", "--results-dir"])
@pytest.mark.parametrize("place", ["folder", "folder/new/er"])
def test_a_read_only_folder_is_refused(monkeypatch, option, place):
    """Permissions do not stop root, so the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("folder"))
    status, message, _ = attempt([option, place])
    assert status == 2 and is_one_short_line(message)
    assert f"{option}: takes a folder that can be written; 'folder' cannot be written" in message


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs Linux")
def test_a_folder_that_even_root_cannot_write_in_is_refused():
    status, message, _ = attempt(["--results-dir", "/proc/1/results"])
    assert status == 2 and "cannot be written" in message


def test_data_may_lie_in_a_read_only_folder_that_is_there(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("folder"))
    assert attempt(["--data-dir", "folder"])[0] == 0
    assert attempt(["--data-dir", "folder/new"])[0] == 2  # it would have to be made


def test_links_to_folders_are_folders(here):
    (here / "link").symlink_to("folder")
    line = "--data-dir link --checkpoint-dir link/new --results-dir folder/../link"
    assert attempt(line.split())[0] == 0


@pytest.mark.parametrize(("batch", "size"), [(128, 129), (1, 50), (2, 1)])
def test_a_last_batch_of_one_image_is_refused_where_batchnorm_cannot_train_on_it(batch, size):
    words = f"--batch-size {batch} --train-size {size}".split()
    said = f"--batch-size: {batch} of {size} training images leave a last batch of one, on which "
    status, message, _ = attempt(["mlp", "resnet18", *words])
    assert status == 2 and f"{said}resnet18's BatchNorm cannot train" in message
    assert is_one_short_line(message)
    assert attempt(["mlp", "cnn", "vit", *words])[0] == 0
    assert attempt(["resnet18", "--batch-size", "128", "--train-size", "130"])[0] == 0


# ---- Command lines that are anything ---------------------------------------------------------

NAMES = [option for option in BAD if option != "ARCH"]
TOKENS = [
    *ARCHITECTURES, *REGIMES, *data.DATASETS, "auto", "cpu", "cuda", "cuda:0", "folder", "file",
    "0", "1", "-1", "0.1", "-0", "+1", "1_0", "1e3", "1e-400", "nan", "-inf", "Infinity", "None",
    "True", "", " ", "-", "--", "---", "-h", "-x", "--=", "=", "@file", "*", "~", ".", "..", "/",
    "/dev/null", "/proc/1/x", "file/x", "loop", "link to nothing", "a\0b", "a\nb", "٣", "½", "𝟘",
    "\udcff", "\ud800", "🧪", "\x1b[31m", "%s", "{}", "$(touch x)", LONG, "x/" * 3000, "9" * 5000,
]  # fmt: skip

numbers = st.integers().map(str) | st.floats().map(str) | st.integers(-3, 70_000).map(str)
values = st.sampled_from(TOKENS) | numbers | st.text(max_size=8)
option_words = st.builds(
    lambda name, words, joined: [f"{name}={words[0]}"] if joined and words else [name, *words],
    st.sampled_from(NAMES) | st.sampled_from(["--", "-"]).flatmap(lambda d: values.map(d.__add__)),
    st.lists(values, max_size=4),
    st.sampled_from([False] * 4 + [True]),
)
command_lines = st.builds(
    lambda names, groups: [*names, *(word for group in groups for word in group)],
    st.lists(st.sampled_from([*ARCHITECTURES, "mlpp"]) | values, max_size=3),
    st.lists(option_words, max_size=4),
)


@given(command_lines)
def test_any_words_are_options_or_an_error_and_touch_nothing(words):
    before = snapshot(Path.cwd())
    status, message, asked = attempt(words)
    if status == 0:  # options, or a request for help
        assert message == ""
        plan = options.make_plan(asked) if asked else None
        assert plan is None or len({run.run_id for run in plan.runs}) == len(plan.runs) > 0
    else:
        assert status == 2 and "Traceback" not in message
        assert is_one_short_line(message), message
    assert snapshot(Path.cwd()) == before


@given(
    row=st.sampled_from([row for row in ROWS if row[0] in NAMES and row[1]]),
    others=st.dictionaries(st.sampled_from(NAMES), st.lists(values, max_size=3), max_size=4),
)
def test_one_wrong_value_is_enough(row, others):
    wrong = [row[0], *words_of(*row)]
    words = [w for name, group in others.items() if name not in wrong for w in (name, *group)]
    assert attempt([*wrong, *words])[0] == 2 or {"-h", "--help"} & {*words}


@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_that_is_registered_can_be_asked_for(regime):
    if METHODS[REGIMES[regime].method].lacks():
        pytest.skip("needs a package, which is optional")
    options.check_method(regime, Recipe())
