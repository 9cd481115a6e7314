"""Single images, from the answers to the report: analysis/images.py, reporting/images.py and
answered.py, store/pictures.py."""

import json
import shutil

import numpy as np
import pytest

import report
from analysis import images
from config import Sweep
from fakes import make_plan, make_results
from reporting import answered
from reporting.images import compare, draw_first, section
from reporting.results import read
from store import images as bits
from store import pictures, records

IMAGES = 10_000
ALPHAS = (0, 0.5, 1)


def test_variance_of_images_is_estimated_without_bias():
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        of_image = 0.5 * rng.normal(size=200)
        found.append(
            images.image_variance(of_image + rng.normal(size=(4, 1)) + rng.normal(size=(4, 200)))
        )
    assert np.mean(found) == pytest.approx(0.25, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert np.isnan(images.image_variance(np.zeros((1, 5))))
    assert images.image_variance(np.repeat([[0.0, 1.0]], 3, axis=0)) == pytest.approx(0.5)


def test_components_are_those_of_the_model():
    rng = np.random.default_rng(1)
    shape = (400, 1, 50)
    of_image, of_seed = 0.3 * rng.normal(size=(1, 1, 50)), 0.2 * rng.normal(size=(400, 1, 1))
    of_draw = 0.4 * rng.normal(size=(400, 3, 1))
    found = images.components([*(of_image + of_seed + of_draw + np.zeros(shape))])
    assert (found["seeds"], found["draws"], found["images"]) == (400, 3, 50)
    assert found["seed"] == pytest.approx(0.04, rel=0.25)
    assert found["draw"] == pytest.approx(0.16, rel=0.2)
    assert found["image"] == pytest.approx(of_image.var(ddof=1), rel=1e-6)
    alone = images.components([np.zeros((1, 5))])
    assert np.isnan([alone["seed"], alone["draw"], alone["image"]]).all()


def test_intervals_for_new_images_are_never_shorter():
    half = np.array([0.0, 0.1, np.nan])
    assert images.with_images(half, 0.0, 100)[:2] == pytest.approx(half[:2])
    assert images.with_images(0.0, 0.25, 100) == pytest.approx(1.959964 * 0.05)
    assert (images.with_images(half, 0.25, 100)[:2] > half[:2]).all()


@pytest.mark.slow
def test_intervals_for_new_images_cover():
    """The table of STATISTICS.md, some of it, anew."""
    from benchmarks.images import KINDS, half_widths, make

    for kind in ("images rule", "seeds rule"):
        rng, held, these = np.random.default_rng(2), [], []
        for _ in range(60):
            d = make(rng, KINDS[kind], 6)
            half = half_widths(rng, d, bootstraps=0)
            held.append(abs(d.mean() - KINDS[kind][1]) <= half["squares"])
            these.append(abs(d.mean() - KINDS[kind][1]) <= half["these"])
        assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)
        if kind == "images rule":
            assert np.mean(these) < 0.8


def told(by_run: dict) -> tuple[dict, dict]:
    """Return points and answers of runs, from strings of 1 and 0 by (α, draw)."""
    points = {
        who: {a: [k for b, k in answers if b == a] for a, _ in answers}
        for who, answers in by_run.items()
    }

    def of(answers):
        return lambda alpha, draw: np.array([c == "1" for c in answers[alpha, draw]])

    return points, {who: of(answers) for who, answers in by_run.items()}


def test_the_first_images_to_break_are_as_defined():
    clean = {
        (0.0, 0): "111101",
        (0.5, 0): "101110",
        (0.5, 1): "101110",
        (1.0, 0): "100110",
        (1.0, 1): "100101",
        (3.0, 0): "000000",
    }
    noisy = {(0.0, 0): "111011", (0.5, 0): "111111", (1.0, 0): "010101"}
    points, right = told({("mlp", "clean", 0): clean, ("mlp", "noisy", 0): noisy})
    # images 3 and 4 are wrong without noise in one model, and α = 3 is not of all
    assert images.first_to_break(points, right, "mlp") == [
        {"image": 2, "alpha": 0.75, "below": 1.0, "share": 0.0}
    ]
    # image 1 was at a half at α = 0.5, which is not below it; now it is below at the next
    noisy[1.0, 0] = "000101"
    points, right = told({("mlp", "clean", 0): clean, ("mlp", "noisy", 0): noisy})
    found = images.first_to_break(points, right, "mlp")
    assert [row["image"] for row in found] == [1, 2]  # image 1 was at a half at 0.5 already
    assert found[0]["alpha"] == 0.5
    assert [row["image"] for row in images.first_to_break(points, right, "mlp", most=1)] == [1]
    assert images.first_to_break(points, right, "cnn") == []


def test_effects_pair_draws_and_seeds():
    one = {(0.0, 0): "1100", (1.0, 0): "1000", (1.0, 1): "0000"}
    two = {(0.0, 0): "1110", (1.0, 0): "1100", (1.0, 2): "1111"}
    points, right = told(
        {("mlp", regime, s): a for s in (0, 1) for regime, a in (("clean", one), ("noisy", two))}
        | {("mlp", "noisy", 2): two}
    )
    found = images.effects(points, right, "clean")
    assert [(row["regime"], row["alpha"], row["seeds"], row["draws"]) for row in found] == [
        ("noisy", 0.0, 2, 1),
        ("noisy", 1.0, 2, 1),
    ]
    assert found[0]["seed"] == 0 and found[0]["image"] == pytest.approx(0.25)


def with_bits(folder, plan, seed=0):
    """Make results whose runs have bits; images of small numbers are the easy ones."""
    make_results(folder, plan)
    found, _ = records.load_all(folder / "runs")
    for record in found:
        answers = bits.Answers(record["run_id"], record["weights"])
        for row in records.rows(record, plan.sweep.settings):
            hard = np.arange(IMAGES) + np.random.default_rng(seed).normal(size=IMAGES)
            right = np.zeros(IMAGES, bool)
            right[np.argsort(hard)[: row[3]]] = True
            answers.add(plan.sweep.settings, row, right)
        bits.save(folder / "runs", answers)
    return folder


@pytest.fixture(scope="module")
def plan():
    return make_plan(("mlp",), seeds=(0, 1, 2), alphas=ALPHAS, draws=2)


@pytest.fixture
def folder(tmp_path, plan):
    return with_bits(tmp_path / "results", plan)


def picture_all(folder, plan, pixels) -> None:
    summary = read(folder).answered
    pictures.add(summary, {n: (pixels, n % 10) for n in pictures.lacking(summary)})
    pictures.save(folder, summary)


def test_the_report_is_the_same_without_the_bits(folder, plan):
    picture_all(folder, plan, np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8))
    report.rebuild(folder)
    names = ("report.md", "images.csv", "images.png", "images.json")
    before = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(bits.images_folder(folder / "runs"))
    report.rebuild(folder)
    assert {name: (folder / name).read_bytes() for name in names} == before
    text = before["report.md"].decode()
    assert "## These images and new ones" in text and "on these 10,000 test images ±" in text
    summary = json.loads(before["images.json"])
    assert len(summary["first"]["mlp"]) == 10 and len(summary["pictures"]) == 10


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 32, 32), (3, 224, 200)])
def test_pictures_are_drawn_as_they_were(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    summary = pictures.new({})
    pictures.add(summary, {7: (pixels, 3)})
    drawn = pictures.pixels_of(summary["pictures"]["7"])
    assert drawn.shape[2:] == (() if shape[0] != 3 else (3,)) and max(drawn.shape[:2]) <= 32
    if shape[-1] <= 32:
        assert (
            drawn == (np.moveaxis(pixels, 0, -1) if shape[0] == 3 else pixels.reshape(drawn.shape))
        ).all()


def test_a_summary_of_other_weights_or_images_does_not_count(folder, plan):
    report.rebuild(folder, everything=False)
    shutil.rmtree(bits.images_folder(folder / "runs"))
    assert section(read(folder)).title
    path = folder / "images.json"
    good = json.loads(path.read_text())
    run_id = next(iter(good["weights"]))
    for bad in (
        {**good, "weights": {**good["weights"], run_id: "others"}},
        {**good, "of": {**good["of"], "dataset": "kmnist"}},
        {**good, "format": 2},
        {**good, "components": [{}]},
        {**good, "first": []},
        [],
    ):
        path.write_text(json.dumps(bad))
        found = section(read(folder))
        assert not (found.title or found.tables or found.charts or found.csv)
        report.rebuild(folder, everything=False)
    path.write_text(json.dumps(good)[:100])
    assert not section(read(folder)).title


def test_effects_and_intervals_are_those_of_the_rest_of_the_report(folder):
    results = read(folder)
    both = compare(results.effects, results.answered["components"])
    effects = results.effects
    assert [*both.alpha] == [*effects.alpha] and [*both.effect] == [*effects.effect]
    assert (both.half_new >= both.half).all()
    assert both[["of_seeds", "of_draws", "of_images"]].sum(axis=1).to_numpy() == pytest.approx(1)


def test_bits_of_some_runs_are_enough_and_bad_ones_count_as_absent(folder, plan):
    kept = [*bits.images_folder(folder / "runs").iterdir()]
    for path in kept:
        if "seed2" in path.name:
            path.write_bytes(path.read_bytes()[:-1])
    report.rebuild(folder, everything=False)
    components = read(folder).answered["components"]
    assert {row["seeds"] for row in components} == {2}
    assert len(read(folder).answered["weights"]) == 4


def test_merging_brings_bits_and_pictures(folder, tmp_path, plan):
    picture_all(folder, plan, np.zeros((28, 28), np.uint8))
    report.rebuild(folder, everything=False)
    for keep_bits in (True, False):
        mine = tmp_path / f"mine-{keep_bits}"
        if not keep_bits:
            shutil.rmtree(bits.images_folder(folder / "runs"))
        assert not report.merge_results(mine, [folder]).conflicts
        report.rebuild(mine, everything=False)
        assert bits.images_folder(mine / "runs").exists() == keep_bits
        assert (mine / "images.json").read_bytes() == (folder / "images.json").read_bytes()


def test_what_is_known_of_an_architecture_stays_when_bits_of_another_come(tmp_path):
    """Its bits are gone, as on another machine; then the other is measured there."""
    both = make_plan(("mlp", "cnn"), seeds=(0, 1, 2), alphas=ALPHAS, draws=2)
    folder = with_bits(tmp_path / "results", both)
    report.rebuild(folder, everything=False)
    whole = (folder / "images.json").read_bytes()
    for name in ("mlp", "cnn"):
        with_bits(folder, both)
        for path in bits.images_folder(folder / "runs").glob(f"{name}-*"):
            path.unlink()
        report.rebuild(folder, everything=False)
        assert (folder / "images.json").read_bytes() == whole
    changed = json.loads(whole)
    changed["weights"][next(k for k in changed["weights"] if k.startswith("cnn"))] = "others"
    (folder / "images.json").write_text(json.dumps(changed))
    shutil.rmtree(bits.images_folder(folder / "runs"))
    report.rebuild(folder, everything=False)
    assert json.loads((folder / "images.json").read_text())["first"].keys() == {"mlp"}


def test_merging_brings_what_is_known_of_another_architecture_without_its_bits(tmp_path):
    both = make_plan(("mlp", "cnn"), seeds=(0, 1, 2), alphas=ALPHAS, draws=2)
    whole = with_bits(tmp_path / "whole", both)
    report.rebuild(whole, everything=False)
    for name in ("mlp", "cnn"):
        part = make_plan((name,), seeds=(0, 1, 2), alphas=ALPHAS, draws=2)
        with_bits(tmp_path / name, part)
        report.rebuild(tmp_path / name, everything=False)
        shutil.rmtree(bits.images_folder(tmp_path / name / "runs"))
    report.merge_results(tmp_path / "mlp", [tmp_path / "cnn"])
    report.rebuild(tmp_path / "mlp", everything=False)
    merged, wanted = (
        json.loads((tmp_path / f / "images.json").read_text()) for f in ("mlp", "whole")
    )
    assert merged == wanted


def test_without_bits_there_is_nothing(tmp_path, plan):
    make_results(tmp_path, plan)
    report.rebuild(tmp_path, everything=False)
    assert not [*tmp_path.glob("images.*")]
    assert not section(read(tmp_path)).title


def test_images_without_pictures_are_frames(folder):
    [chart] = section(read(folder)).charts.values()
    (axes,) = chart.panels().axes
    assert chart.draw is draw_first and len(axes.lines) == 10 and not axes.images
    assert {text.get_text().partition(" ")[0] for text in axes.texts} == {"–", "no."}


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"shape": [2, 2], "pixels": "AAAA"},
        {"shape": [9999, 9999], "pixels": ""},
        {"shape": "ab", "pixels": ""},
        {"shape": [0, 4], "pixels": ""},
        {"shape": [2, 2], "pixels": pictures.packed(np.zeros((3, 3), np.uint8), 1)["pixels"]},
    ],
)
def test_a_picture_that_is_none_is_refused(bad):
    with pytest.raises(ValueError):
        pictures.pixels_of(bad)


def test_many_large_pictures_stay_small():
    summary = pictures.new({})
    noise = np.random.default_rng(0).integers(0, 256, (3, 300, 200)).astype(np.uint8)
    summary["first"] = {f"a{n}": [{"image": n * 10 + k} for k in range(10)] for n in range(12)}
    pictures.add(summary, {n: (noise, 0) for n in pictures.lacking(summary)})
    assert len(pictures.dumps(summary)) < 200_000 and not pictures.lacking(summary)


def test_the_run_keeps_pixels_and_labels(folder, plan, mnist, data_dir):
    from runner.pictures import keep
    from store.folders import Folders

    keep(plan, Folders(data_dir, folder, folder))
    summary = read(folder).answered
    assert not pictures.lacking(summary)
    for number, picture in summary["pictures"].items():
        assert picture["label"] == mnist.test_labels[int(number)]
        assert (pictures.pixels_of(picture) == mnist.test_images[int(number)].numpy()).all()
    shutil.rmtree(bits.images_folder(folder / "runs"))
    (folder / "images.json").unlink()
    keep(plan, Folders(data_dir, folder, folder))
    assert not (folder / "images.json").exists()


def test_own_models_have_none(tmp_path):
    from store.own import Task
    from store.plan import Plan

    plan = Plan(("mine",), ("clean",), (0,), Task(data="x"), Sweep())
    assert not answered.summarise(tmp_path, plan, [], "clean")["weights"]
