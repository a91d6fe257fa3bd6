"""What outlives an application's actors: a few facts in the cluster's own key-value store.

Ray restarts an actor with the arguments of its first life, whatever came since; so what has been
decided since is kept here. The store lives as long as the cluster does, and longer with Redis.
"""

import json
import logging
import uuid

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.codec import from_plain, to_plain
from coordsvc.core.terms import Terms
from coordsvc.core.units import Epoch

log = logging.getLogger(__name__)

EPOCHS_MAX = 1_000_000


class Kept:
    """The facts of one application."""

    def __init__(self, app: str) -> None:
        self._prefix = f"coordsvc/{app}/"

    def claim_epoch(self) -> Epoch:
        """Return an epoch that nobody has had: put-if-absent decides."""
        self._put("run", uuid.uuid4().hex, overwrite=False)
        run = self._get("run")
        assert run is not None, "it has been put there"
        for n in range(1, EPOCHS_MAX):
            if not self._put(f"epoch/{n}", "claimed", overwrite=False):
                return Epoch(run, n)
        raise AssertionError("an allocator does not die a million times")

    def keep_terms(self, deployed: Terms, terms: Terms) -> None:
        """Write down the terms of the last deployment, and those in force."""
        kept = {"deployed": to_plain(deployed, Terms), "terms": to_plain(terms, Terms)}
        self._put("terms", json.dumps(kept))

    def terms(self) -> tuple[Terms, Terms] | None:
        """Return the terms last deployed, and those in force; None where none are written down."""
        kept = self._get("terms")
        if kept is None:
            return None
        try:
            told = json.loads(kept)
            return from_plain(told["deployed"], Terms), from_plain(told["terms"], Terms)
        except (BadRequest, KeyError, ValueError) as error:
            log.warning("the terms that another version wrote down cannot be read: %s", error)
            return None

    def keep_metrics_port(self, port: int) -> None:
        """Write down where metrics are served: where any port will do, the next life takes it."""
        self._put("metrics_port", str(port))

    def metrics_port(self) -> int | None:
        """Return the port of the last life, if there was one."""
        kept = self._get("metrics_port")
        return None if kept is None else int(kept)

    def keep_key_files(self, key_file: str | None, admin_key_file: str | None) -> None:
        """Write down where the keys of that port are: the next life must not stand open."""
        self._put("key_files", json.dumps([key_file, admin_key_file]))

    def key_files(self) -> tuple[str | None, str | None] | None:
        """Return what was written down last; None where nothing was."""
        kept = self._get("key_files")
        if kept is None:
            return None
        key_file, admin_key_file = json.loads(kept)
        return key_file, admin_key_file

    def forget(self) -> None:
        """Strike out all but the epochs: none is ever used again."""
        for name in ("terms", "metrics_port", "key_files"):
            _internal_kv_del(self._key(name))

    def _put(self, name: str, value: str, *, overwrite: bool = True) -> bool:
        """Return whether there was a value before."""
        return bool(_internal_kv_put(self._key(name), value.encode(), overwrite=overwrite))

    def _get(self, name: str) -> str | None:
        value = _internal_kv_get(self._key(name))
        return None if value is None else value.decode()

    def _key(self, name: str) -> bytes:
        return f"{self._prefix}{name}".encode()
