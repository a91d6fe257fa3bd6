"""The keys of one file that open a part of the instruments' port, as they are now."""

import hmac
import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock

from coordsvc.settings.files import Stamp, stamp_of
from coordsvc.settings.keys import KeysUnreadable
from coordsvc.settings.metrics import read_hashes

log = logging.getLogger(__name__)


class PortKeys:
    """Looks at its file at each question: there are a few a minute, and a look costs 2 us.

    A file that cannot be read opens nothing; one that no longer can changes nothing.
    """

    def __init__(
        self,
        file: str,
        unreadable: Callable[[], None],
        same: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        """`unreadable` is told each time that a file was changed into one that is none."""
        self._path = Path(file)
        self._unreadable = unreadable
        self._same = same
        self._hashes: tuple[bytes, ...] = ()
        self._looked = False
        self._stamp: Stamp | None = None
        self._lock = Lock()

    def opened_by(self, word: bytes) -> bool:
        """Tell whether the word is a key; whatever it is, the same is done to find out.

        Raises:
            KeysUnreadable: there are no keys, since their file could never be read.

        """
        hashes = self._now()
        if not hashes:
            raise KeysUnreadable("the file of its keys cannot be read; the log says why")
        given = sha256(word).digest()
        equal = [self._same(given, one) for one in hashes]
        return any(equal)

    def _now(self) -> tuple[bytes, ...]:
        with self._lock:
            stamp = stamp_of(self._path)
            if self._looked and stamp == self._stamp:
                return self._hashes
            self._looked, self._stamp = True, stamp
            try:
                self._hashes = read_hashes(self._path)
            except KeysUnreadable as error:
                self._unreadable()
                kept = "the keys stay what they were" if self._hashes else "nobody is let in"
                log.error("%s: %s", kept, error)  # noqa: TRY400 - the reason is said
            return self._hashes
