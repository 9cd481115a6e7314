"""changes.py: what is forgotten is gone, nothing else is, and it does not come back."""

from hypothesis import given
from hypothesis import strategies as st

from config import LEAST_DRAWS
from fakes import make_plan
from store import plan_file as plans
from store.changes import without
from store.plan_file import ask, forget, load_plan
from test_plan import axes, sweeps

built = st.builds(lambda a, s: make_plan(*a, **s), axes, sweeps)


@given(parts=st.lists(built, min_size=1, max_size=3), gone=built)
def test_the_runs_that_are_named_go_and_no_others(parts, gone):
    plan = parts[0]
    for part in parts[1:]:
        plan = part.joined(plan)
    left = without(plan, gone)
    expected = {run: sweep for run, sweep in plan.asked.items() if run not in {*gone.runs}}
    assert (left.asked if left else {}) == expected
    assert (left is plan) == (len(expected) == len(plan.runs))


def test_of_measurements_only_those_that_are_named_go():
    plan = make_plan(("mlp", "cnn"), alphas=(0.0, 0.1, 0.5), draws=1_000_000, antithetic=True)
    asked = make_plan(("mlp",), alphas=(0.0, 0.5), draws=1_000_000, antithetic=True)
    left = without(plan, asked, {"draws"})
    mine = {s for run, s in left.asked.items() if run.architecture == "mlp"}
    assert {(s.draws, s.two_stage) for s in mine} == {(LEAST_DRAWS, True)}
    assert {s.draws for run, s in left.asked.items() if run.architecture == "cnn"} == {1_000_000}
    left = without(plan, asked, {"alphas", "antithetic"})
    assert {(s.alphas, s.antithetic) for run, s in left.asked.items()} == {
        ((0.0, 0.1), False),
        ((0.0, 0.1, 0.5), True),
    }
    assert without(plan, make_plan(draws=7), {"draws"}) is plan


def test_the_plan_on_disk_forgets_and_can_be_asked_again(tmp_path):
    ask(tmp_path, make_plan(("mlp", "cnn")))
    forget(tmp_path, make_plan(("cnn",)))
    assert load_plan(tmp_path) == make_plan(("mlp",))
    ask(tmp_path, make_plan(("cnn",)))
    assert load_plan(tmp_path).asked == make_plan(("mlp", "cnn")).asked
    assert not plans.parts_folder(tmp_path).exists()
