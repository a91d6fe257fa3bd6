"""What scripted engines say in a bench of faults: every reply is known word for word."""

from typing import Any

from coordsvc.bench.turns import Question

MODEL = "scripted"
REPLIES = 16
"""Different replies; every word of each tells which reply it belongs to, and where it stands."""
WORDS = 24
PIECES = 12
PIECE_MS = 25.0
"""A streamed reply takes 0.3 s: long enough for a death to find it half said."""
SHORT_MS = 30.0
"""Any other phase."""
VERDICT = '{"accept":true,"score":9,"reason":"scripted"}'
"""One word without a space, so it comes in one piece whatever the rule says."""
PLAN_TOKENS = 1
"""Of a plan only the first word is wanted, so a plan is a short phase under the same rule."""


def reply(number: int) -> str:
    """Return the `number`-th reply."""
    return " ".join(f"r{number}w{word}" for word in range(WORDS))


def engine(places: int, piece_ms: float = PIECE_MS) -> dict[str, Any]:
    """Return the settings of an engine that answers `places` requests at the same time."""
    streams = [
        {
            "match": f"tell {number}.",
            "reply": reply(number),
            "chunks": PIECES,
            "delay_ms": piece_ms,
            "chunk_delay_ms": piece_ms,
        }
        for number in range(REPLIES)
    ]
    wholes = [
        {"match": f"say {number}.", "reply": reply(number), "delay_ms": SHORT_MS}
        for number in range(REPLIES)
    ]
    return {
        "kind": "scripted",
        "model": MODEL,
        "rules": [*streams, *wholes],
        "default": {"reply": "I was not told what to say.", "delay_ms": SHORT_MS},
        "verdicts": [VERDICT],
        "batch_max": places,
    }


def question(turn: int, *, streams_only: bool = False) -> Question:
    """Return the `turn`-th question: every second one wants its reply streamed."""
    streamed = streams_only or turn % 2 == 0
    number = turn // 2 % REPLIES
    body = {
        "model": MODEL,
        "stream": streamed,
        "messages": [{"role": "user", "content": f"{'tell' if streamed else 'say'} {number}."}],
        "coordsvc": {"mode": "stream_then_check" if streamed else "check_then_send"},
    }
    return Question(body=body, expected=reply(number))
