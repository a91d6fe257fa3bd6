"""Token ids back to text, piece by piece, and the end of a reply at a stop string. Pure.

Rules. A character may be spread over several tokens, so bytes are decoded as they complete, never
token by token. Text that may yet turn out to be the beginning of a stop string is held back, so
that no part of a stop string is ever sent.
"""

import codecs
from collections.abc import Iterable, Sequence


class Detokeniser:
    """Turns one reply's token ids into text; a character waits until it is whole."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """`pieces` are the bytes of each token id; a control token's are empty."""
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, ids: Iterable[int]) -> str:
        """Return the text that these ids complete."""
        pieces = self._pieces
        return self._decoder.decode(b"".join([pieces[token] for token in ids]))

    def end(self) -> str:
        """Return what is left: a replacement character, should the last one be unfinished."""
        return self._decoder.decode(b"", final=True)


class StopStrings:
    """Passes text on until a stop string appears; neither it nor any part of it is passed."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max((len(stop) for stop in self._stops), default=0)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return the text that is safe to send; sets `stopped` when a stop string is complete."""
        if not self._stops:
            return text
        if self.stopped:
            return ""
        text = self._held + text
        at = [where for stop in self._stops if (where := text.find(stop)) >= 0]
        if at:
            self.stopped, self._held = True, ""
            return text[: min(at)]
        keep = self._beginnings(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """Return what was held back; the reply is over, so it was no stop string after all."""
        held, self._held = self._held, ""
        return held

    def _beginnings(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0
