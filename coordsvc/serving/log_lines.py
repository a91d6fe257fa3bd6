"""Where a replica's log goes: to its process's standard error, at once.

Serve puts a stream of its own in the place of standard error that may keep a thousand lines to
itself until one of Serve's is an error: a warning at the start would be read after the end.
"""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def begin_log() -> None:
    """Have our lines written unless somebody has arranged for more; twice is once."""
    log = logging.getLogger("coordsvc")
    if not log.hasHandlers():
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(logging.Formatter(FORMAT))
        log.addHandler(handler)
