"""What users ask and are answered, logged: only where `http.log_text` says so."""

import logging
import sys

from coordsvc.core.accounting import TurnResult
from coordsvc.core.dialogue import TurnRequest

log = logging.getLogger("coordsvc.dialogue")
"""A logger of its own, so that it can be sent elsewhere, or nowhere."""

CHARS_MAX = 2_000
"""Of each text: whoever wants all of it keeps it at the client."""


def begin_dialogue_log() -> None:
    """Have it written to standard error unless somebody has arranged for more."""
    log.setLevel(logging.INFO)
    if not log.hasHandlers():
        # the process's own: Serve puts one in its place that may keep a thousand lines to itself
        log.addHandler(logging.StreamHandler(sys.__stderr__))


def log_dialogue(request: TurnRequest, result: TurnResult | None) -> None:
    """Log the turn's last message and its reply; each in one line, whatever stands there."""
    asked = request.conversation[-1].text if request.conversation else ""
    answered = result.text if result is not None else ""
    log.info("turn %s: %s -> %s", request.turn_id, _shown(asked), _shown(answered))


def _shown(text: str) -> str:
    more = len(text) - CHARS_MAX
    return f"{text[:CHARS_MAX]!r}" + (f" and {more} characters more" if more > 0 else "")
