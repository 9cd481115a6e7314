"""What every script does first: it checks Python's version, and makes its output steady.

The version is checked on import, before another module can fail in words that nobody understands:
scripts import this file first. It is written so that older versions can read it.
"""

import os
import sys

LEAST = (3, 11)  # of Python: format's "z", StrEnum, and what the pinned torch goes with

if sys.version_info < LEAST:
    sys.exit(
        "{}: needs Python {}.{} or newer, and this is {}.{}".format(
            os.path.basename(sys.argv[0]), *LEAST, *sys.version_info[:2]
        )
    )


class Steady:
    """A stream to print to: whatever is behind it, and in whatever encoding, stops no work."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        """Write a text if that is possible; return its length."""
        try:
            self.stream.write(text)
        except UnicodeError:  # a stream that could not be told what to do with α
            return self.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError) as error:
            self.give_up(error)
        return len(text)

    def flush(self):
        """Flush what was written if that is possible."""
        try:
            self.stream.flush()
        except (OSError, ValueError) as error:
            self.give_up(error)

    def give_up(self, error):
        """Write no more where nobody reads; a full disk may have room again later."""
        if not isinstance(error, BrokenPipeError):
            return
        # What the stream still holds goes nowhere, too, or Python ends with status 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self.stream.fileno())
        except (OSError, ValueError):
            self.stream = open(os.devnull, "w")  # noqa: SIM115
        finally:
            os.close(nowhere)

    def __getattr__(self, name):
        return getattr(self.stream, name)


def steady_output():
    """Let a script print to any stream: closed, ended, full, or in an encoding without α.

    What an encoding lacks is written as an escape, like `\\u03b1`.
    """
    for number in (0, 1, 2):  # where one is closed, the next file that is opened would be it
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w")  # noqa: SIM115
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Steady(stream))
