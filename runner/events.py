"""What can happen to a run: what workers tell, and what listeners hear."""

from enum import StrEnum


class Kind(StrEnum):
    """What happened; beside each kind, the facts that come with it."""

    STARTED = "started"  # none: a worker has been given the run
    NOTE = "note"  # text: what a reader of the log should know
    EPOCH = "epoch"  # epoch, from 1, of how many; loss, accuracy (see `train`), seconds
    SAVED = "saved"  # done, of: how many of the missing measurements are on disk
    POINT = "point"  # done, of: how many of the missing measurements are made; accuracy at α = 0
    BEAT = "beat"  # none: the work goes on; the pool alone hears it
    LATER = "later"  # reason: why the run waits, to be tried again
    FAILED = "failed"  # reason: why; it is not tried again
    VERDICT = "verdict"  # word, text: what verifying a run has found
    DONE = "done"  # none: all that was asked of the run is on disk
