"""Who asks: a bearer key, looked up by its hash, with what it may use.

The key is hashed once, whatever it is; then a table of hashes is looked into, and the hash that is
found, or one that nothing has, is compared in constant time. So a key that is wrong takes the
same steps as one that is right but for its last character.
"""

import hmac
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from coordsvc.core.units import SECOND, Instant, Micros, since
from coordsvc.ports import Clock
from coordsvc.serving.http.errors import Problem, Rejection, busy
from coordsvc.serving.http.limits import Allowance, Offenders, allowance
from coordsvc.settings.keys import Key, KeySettings, KeysUnreadable, read_keys

log = logging.getLogger(__name__)

KEY_CHARS_MAX = 512
"""Of a key; ours have 46."""
NOTHING = b"\0" * 32
"""What no key hashes to, as far as anybody will ever know."""
AUTHENTICATION = "authentication_error"
CHALLENGE = ((b"www-authenticate", b'Bearer realm="coordsvc"'),)


@dataclass(slots=True)
class Caller:
    """Who sent a request, and what they may use."""

    name: str
    tenant: str
    allowance: Allowance


Stamp = tuple[int, int, int]
"""What changes when a file does: when it was changed, its size, which file it is."""


class Keyring:
    """The keys that are let in; looks at their file now and then."""

    def __init__(
        self,
        settings: KeySettings,
        clock: Clock,
        refused: Callable[[str], None],
        tenants: Collection[str] = (),
        same: Callable[[bytes, bytes], bool] = hmac.compare_digest,
    ) -> None:
        """Read the file; raise `KeysUnreadable` if it is none. `refused` is told each reason.

        Where there are `tenants`, a key that names another is a mistake; else its tenant is a name
        under which its turns are counted.
        """
        self._tenants = frozenset(tenants)
        self._same = same
        self._path = Path(settings.file)
        self._clock = clock
        self._refused = refused
        self._reload_us = Micros(round(settings.reload_s * SECOND))
        self._offenders = Offenders(settings.wrong_per_minute_max, settings.addresses_max)
        self._callers: dict[bytes, tuple[Key, Caller]] = {}
        self._looked = clock.now()
        self._stamp = self._now_there()
        self._take_in(self._read())

    def caller(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Caller:
        """Return whose key the request carries, or refuse it."""
        now = self._clock.now()
        self._look(now)
        given = [value for name, value in headers if name == b"authorization"]
        if not given:
            self._refused("no_key")
            raise unknown_key("no API key was given", "missing_api_key")
        word = bearer(given)
        digest = sha256(word).digest()
        found = self._callers.get(digest)
        right = self._same(digest if found else NOTHING, digest)
        if found is not None and right and word:
            return found[1]
        wait = self._offenders.wait_us(address, now)
        if wait:
            self._refused("too_many_wrong_keys")
            message = "too many wrong API keys came from this address"
            raise Rejection(busy(message, math.ceil(wait / SECOND)))
        self._refused("wrong_key")
        raise unknown_key("the API key is not known", "invalid_api_key")

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        """Let a turn of the caller's in for as long as it lasts, or refuse it."""
        own = caller.allowance
        if own.turns_at_once is not None and own.turns >= own.turns_at_once:
            self._refused("turns_at_once")
            message = f"{own.turns_at_once} turns are under way with this key: that is its limit"
            raise Rejection(busy(message, 1))
        if own.bucket is not None and (wait := own.bucket.wait_us(self._clock.now())):
            self._refused("requests_per_minute")
            message = f"this key may send {own.bucket.per_minute} requests a minute"
            raise Rejection(busy(message, math.ceil(wait / SECOND)))
        own.turns += 1
        try:
            yield
        finally:
            own.turns -= 1

    def _look(self, now: Instant) -> None:
        """Read the file again if it has changed; one that is broken changes nothing."""
        if since(self._looked, now) < self._reload_us:
            return
        self._looked = now
        stamp = self._now_there()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take_in(self._read())
        except KeysUnreadable as error:
            self._refused("key_file")
            log.error("the keys stay what they were: %s", error)  # noqa: TRY400 - the reason is said
            return
        log.info("%d keys were read from %s", len(self._callers), self._path)

    def _read(self) -> tuple[Key, ...]:
        keys = read_keys(self._path).keys
        for key in keys:
            if self._tenants and key.tenant is not None and key.tenant not in self._tenants:
                raise KeysUnreadable(
                    f"{self._path}: the key {key.name} names the tenant {key.tenant}, which is "
                    f"none; there are {', '.join(sorted(self._tenants))}"
                )
        return keys

    def _take_in(self, keys: Iterable[Key]) -> None:
        """Let these keys in; what one has used stays used, unless its limits are other ones."""
        before = self._callers
        self._callers = {}
        for key in keys:
            digest = bytes.fromhex(key.sha256)
            known = before.get(digest)
            if known is not None and known[0] == key:
                self._callers[digest] = known
                continue
            own = allowance(key.requests_per_minute, key.burst, key.turns_at_once)
            self._callers[digest] = (key, Caller(key.name, key.tenant or "", own))

    def _now_there(self) -> Stamp | None:
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino


def open_to_others(host: str) -> str | None:
    """Return a warning if a door without keys, on this address, is open to other machines."""
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if here:
        return None
    return (
        f"no keys are asked for, and the door is on {host}: whoever reaches its port may send "
        "dialogue; set keys.file, or listen on 127.0.0.1"
    )


def bearer(given: list[bytes]) -> bytes:
    """Return the word after `Bearer`; nothing where it is not there, or twice, or absurd."""
    if len(given) != 1 or len(given[0]) > KEY_CHARS_MAX:
        return b""
    scheme, _, word = given[0].partition(b" ")
    return word.strip() if scheme.lower() == b"bearer" else b""


def unknown_key(message: str, code: str) -> Rejection:
    """Return the refusal of a request whose key is missing or wrong."""
    said = f"{message}; send it as `Authorization: Bearer KEY`"
    problem = Problem(status=401, message=said, type=AUTHENTICATION, code=code, headers=CHALLENGE)
    return Rejection(problem)
