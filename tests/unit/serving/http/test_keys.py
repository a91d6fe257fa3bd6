"""Who is let in: keys, their limits, their file, and what guessing meets."""

import asyncio
import hmac
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from coordsvc.core.units import SECOND
from coordsvc.serving.http.errors import Rejection
from coordsvc.serving.http.keys import Keyring, open_to_others
from coordsvc.settings.keys import KeySettings, KeysUnreadable
from tests.unit.serving.http.fakes import House, SetClock, ask, build, result

ALICE, BOB = "ck-alice-secret-word", "ck-bob-secret-word"


class Doorstep:
    """A house with keys, a file of them, and a book of the reasons for refusals."""

    def __init__(self, folder: Path, *script: Any, **settings: Any) -> None:
        self.file = folder / "keys.yaml"
        self.refused: list[str] = []
        self.write(self.entry("alice", ALICE, tenant="research"), self.entry("bob", BOB))
        self.house: House = build(
            *script,
            keys=lambda clock: Keyring(
                KeySettings(file=str(self.file), **settings), clock, self.refused.append
            ),
        )

    @staticmethod
    def entry(name: str, word: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "sha256": sha256(word.encode()).hexdigest(), **more}

    def write(self, *entries: dict[str, Any]) -> None:
        draft = self.file.with_suffix(".draft")
        draft.write_text(yaml.safe_dump({"keys": list(entries)}))
        draft.replace(self.file)

    async def post(self, *headers: tuple[str, str]) -> httpx.Response:
        async with self.house.client() as client:
            return await client.post(
                "/v1/chat/completions",
                json=ask(),
                headers=[("content-type", "application/json"), *headers],
            )

    async def with_key(self, word: str) -> httpx.Response:
        return await self.post(("authorization", f"Bearer {word}"))


@pytest.fixture
def doorstep(tmp_path: Path) -> Doorstep:
    return Doorstep(tmp_path)


async def test_a_key_lets_its_tenant_in(doorstep: Doorstep) -> None:
    assert (await doorstep.with_key(ALICE)).status_code == 200
    assert (await doorstep.with_key(BOB)).status_code == 200
    assert [turn.tenant for turn in doorstep.house.turns.asked] == ["research", ""]
    assert doorstep.refused == []


async def test_without_a_key_nothing_is_served_but_probes(doorstep: Doorstep) -> None:
    refused = await doorstep.post()
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "missing_api_key")
    for path in ("/v1/models", "/v1/turns/turn-1", "/docs", "/openapi.json", "/nowhere"):
        assert (await doorstep.house.get(path)).status_code == 401, path
    for path in ("/healthz", "/readyz"):
        assert (await doorstep.house.get(path)).status_code == 200, path
    assert set(doorstep.refused) == {"no_key"}
    assert doorstep.house.turns.asked == []


@pytest.mark.parametrize(
    "given",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        f"Basic {ALICE}",
        ALICE,
        f"Bearer {ALICE}x",
        f"Bearer {ALICE[:-1]}",
        f"Bearer {ALICE.upper()}",
        "Bearer " + "x" * 10_000,
        "Bearer \u00e4\u00f6\u00fc".encode().decode("latin-1"),
    ],
)
async def test_a_wrong_key_is_refused_in_the_same_words(doorstep: Doorstep, given: str) -> None:
    async with doorstep.house.client() as client:
        refused = await client.get(
            "/v1/models", headers=[(b"authorization", given.encode("latin-1"))]
        )
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert ALICE[3:] not in refused.text
    assert doorstep.refused == ["wrong_key"]


async def test_two_keys_at_once_are_none(doorstep: Doorstep) -> None:
    both = (("authorization", f"Bearer {ALICE}"), ("authorization", "Bearer x"))
    assert (await doorstep.post(*both)).status_code == 401


def test_a_wrong_key_takes_the_steps_of_a_right_one(doorstep: Doorstep) -> None:
    """One comparison of two whole hashes, in constant time, whoever it is."""
    compared: list[tuple[int, int]] = []

    def same(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    settings = KeySettings(file=str(doorstep.file))
    keyring = Keyring(settings, SetClock(), doorstep.refused.append, same=same)
    for word in (ALICE, ALICE[:-1] + "x", "x", ""):
        with suppress(Rejection):
            keyring.caller([(b"authorization", f"Bearer {word}".encode())], "somewhere")
    assert compared == [(32, 32)] * 4
    assert doorstep.refused == ["wrong_key"] * 3


async def test_who_guesses_is_soon_told_to_wait_and_who_knows_is_not(tmp_path: Path) -> None:
    doorstep = Doorstep(tmp_path, wrong_per_minute_max=3)
    answers = [(await doorstep.with_key(f"guess{n}")) for n in range(5)]
    assert [one.status_code for one in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert doorstep.refused[-1] == "too_many_wrong_keys"
    assert (await doorstep.with_key(ALICE)).status_code == 200, "from the same address"
    doorstep.house.clock.advance(60 * SECOND)
    assert (await doorstep.with_key("guess6")).status_code == 401


# Limits


async def test_requests_beyond_the_rate_are_told_when_to_come_back(tmp_path: Path) -> None:
    doorstep = Doorstep(tmp_path)
    doorstep.write(doorstep.entry("alice", ALICE, requests_per_minute=30, burst=2))
    doorstep.house.clock.advance(10 * SECOND)
    answers = [await doorstep.with_key(ALICE) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"] == "2"
    assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"
    assert doorstep.refused == ["requests_per_minute"]
    doorstep.house.clock.advance(2 * SECOND)
    assert (await doorstep.with_key(ALICE)).status_code == 200


async def test_so_many_turns_at_once_and_no_more(tmp_path: Path) -> None:
    done = asyncio.Event()
    doorstep = Doorstep(tmp_path, done.wait, result())
    doorstep.write(doorstep.entry("alice", ALICE, turns_at_once=1), doorstep.entry("bob", BOB))
    doorstep.house.clock.advance(10 * SECOND)
    first = asyncio.create_task(doorstep.with_key(ALICE))
    await asyncio.sleep(0.02)
    second = await doorstep.with_key(ALICE)
    assert second.status_code == 429
    assert "its limit" in second.json()["error"]["message"]
    others = asyncio.create_task(doorstep.with_key(BOB))
    done.set()
    assert (await first).status_code == (await others).status_code == 200
    assert (await doorstep.with_key(ALICE)).status_code == 200, "a turn that ended makes room"
    assert doorstep.refused == ["turns_at_once"]


async def test_a_turn_is_shown_to_its_own_tenant_only(tmp_path: Path) -> None:
    doorstep = Doorstep(tmp_path, result(tenant="research"))
    turn = (await doorstep.with_key(ALICE)).headers["x-turn-id"]

    async def asks(word: str) -> int:
        async with doorstep.house.client() as client:
            found = await client.get(
                f"/v1/turns/{turn}", headers={"authorization": f"Bearer {word}"}
            )
        return found.status_code

    assert await asks(ALICE) == 200
    assert await asks(BOB) == 404, "not even that there is such a turn"


# The file


async def test_a_changed_file_is_read_and_what_was_used_stays_used(doorstep: Doorstep) -> None:
    limited = doorstep.entry("alice", ALICE, requests_per_minute=1)
    doorstep.write(limited)
    doorstep.house.clock.advance(10 * SECOND)
    assert (await doorstep.with_key(ALICE)).status_code == 200
    assert (await doorstep.with_key(BOB)).status_code == 401, "struck out of the file"
    doorstep.write(limited, doorstep.entry("carol", "ck-carol"))
    doorstep.house.clock.advance(10 * SECOND)
    assert (await doorstep.with_key("ck-carol")).status_code == 200
    assert (await doorstep.with_key(ALICE)).status_code == 429


async def test_a_file_is_not_looked_at_for_each_request(doorstep: Doorstep) -> None:
    doorstep.write(doorstep.entry("carol", "ck-carol"))
    assert (await doorstep.with_key(ALICE)).status_code == 200, "not two seconds have passed"


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("keys: ["), os.unlink])
async def test_a_broken_file_changes_nothing_and_is_told_once(
    doorstep: Doorstep, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(doorstep.file)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            doorstep.house.clock.advance(10 * SECOND)
            assert (await doorstep.with_key(ALICE)).status_code == 200
    assert doorstep.refused == ["key_file"]
    assert len(caplog.records) == 1
    doorstep.write(doorstep.entry("carol", "ck-carol"))
    doorstep.house.clock.advance(10 * SECOND)
    assert (await doorstep.with_key("ck-carol")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "door.example", ""])
def test_a_door_without_keys_that_others_reach_is_warned_of(host: str) -> None:
    warning = open_to_others(host)
    assert warning is not None
    assert f"the door is on {host}:" in warning
    assert "set keys.file" in warning


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_one_on_this_machine_alone_is_not(host: str) -> None:
    assert open_to_others(host) is None


def test_a_key_of_a_tenant_that_nobody_knows_is_a_mistake(doorstep: Doorstep) -> None:
    settings = KeySettings(file=str(doorstep.file))
    Keyring(settings, SetClock(), doorstep.refused.append, ["research", "sales"])
    with pytest.raises(KeysUnreadable, match=r"alice names the tenant research.*there are sales"):
        Keyring(settings, SetClock(), doorstep.refused.append, ["sales"])


def test_a_service_does_not_start_on_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="cannot be read"):
        Keyring(KeySettings(file=str(tmp_path / "none")), SetClock(), lambda reason: None)
