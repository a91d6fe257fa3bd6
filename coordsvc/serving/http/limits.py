"""How much of the door one key may use: a bucket of requests, a number of turns at once."""

from collections import OrderedDict
from dataclasses import dataclass

from coordsvc.core.units import SECOND, Instant, Micros, since

MINUTE_US = 60 * SECOND
BURST_PART = 10
"""Of a minute's requests, a tenth may come at once where nothing else is said."""


@dataclass(slots=True)
class Bucket:
    """Fills steadily, and is emptied by requests: the token bucket."""

    per_minute: int
    burst: int
    _level: float = 0.0
    _as_of: Instant | None = None

    def wait_us(self, now: Instant) -> Micros:
        """Take one if there is one, and return 0; else return how long until there is."""
        if self._as_of is None:
            self._level = float(self.burst)
        else:
            filled = since(self._as_of, now) * self.per_minute / MINUTE_US
            self._level = min(float(self.burst), self._level + filled)
        self._as_of = now
        if self._level >= 1:
            self._level -= 1
            return Micros(0)
        return Micros(round((1 - self._level) * MINUTE_US / self.per_minute))


@dataclass(slots=True)
class Allowance:
    """What one key may still use at this replica."""

    bucket: Bucket | None
    turns_at_once: int | None
    turns: int = 0
    """Under way."""


def allowance(
    requests_per_minute: int | None, burst: int | None, turns_at_once: int | None
) -> Allowance:
    """Return what a key with these limits begins with."""
    bucket = None
    if requests_per_minute is not None:
        bucket = Bucket(requests_per_minute, burst or max(1, requests_per_minute // BURST_PART))
    return Allowance(bucket, turns_at_once)


class Offenders:
    """Counts the wrong keys of each address, of so many addresses at most: the oldest go first."""

    def __init__(self, per_minute: int, addresses_max: int) -> None:
        self._per_minute = per_minute
        self._most = addresses_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait_us(self, address: str, now: Instant) -> Micros:
        """Count a wrong key; return how long its sender is not listened to, 0 for not at all."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(self._per_minute, self._per_minute)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        return bucket.wait_us(now)
