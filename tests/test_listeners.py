"""The lines of a log that is no terminal."""

import re

from config import Run
from runner.listeners import Progress


def test_a_log_has_a_line_for_each_epoch_with_time_and_run_id(capsys):
    run = Run("mlp", "clean", 0)
    with Progress({run: 1.0}, terminal=False) as progress:
        progress(run, "started", {})
        progress(run, "epoch", {"epoch": 2, "loss": 0.12345, "seconds": 6.78})
        progress(run, "point", {"done": 1, "of": 56})
        progress(run, "done", {})
    out, err = capsys.readouterr()
    epoch, done = out.splitlines()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {run.run_id}: epoch 2/4, loss 0.1235, 6.8 s", epoch)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {run.run_id}: done after 0 s; 1 of 1 runs", done)
    assert "\r" not in out and not err
