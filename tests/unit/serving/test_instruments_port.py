"""The instruments' port, over real sockets: two parts, two keys, and whoever comes to either."""

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, make_wsgi_app

from coordsvc.core.errors import EngineBroken
from coordsvc.serving import instruments_port
from coordsvc.serving.admin import Admin
from coordsvc.serving.instruments_port import Gatekeeper, InstrumentsPort, PortApp
from tests.unit.serving.operations import FakeOperations

METRICS_KEY, ADMIN_KEY = "metrics-key-of-some-length", "admin-key-of-some-length"
Answer = tuple[int, dict[str, str], str]


class Place:
    """A port with something on its page, and a fake pool behind it."""

    def __init__(self, folder: Path) -> None:
        self.pool = FakeOperations()
        self.refused: Counter[str] = Counter()
        self.now_s = 0.0
        self.gate = Gatekeeper(lambda reason: self.refused.update([reason]), lambda: self.now_s)
        registry = CollectorRegistry()
        Gauge("answer", "To everything.", registry=registry).set(42)
        app = PortApp(make_wsgi_app(registry), Admin(self.pool.reach), self.gate)
        self.port = InstrumentsPort("127.0.0.1", 0, app)
        self.files = [folder / "metrics-key", folder / "admin-key"]
        for file, key in zip(self.files, (METRICS_KEY, ADMIN_KEY), strict=True):
            file.write_text(key)

    def lock(self) -> None:
        self.gate.ask_for(*map(str, self.files))

    def ask(
        self,
        path: str,
        key: str | None = None,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.port.number, timeout=5)
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            said["Authorization"] = f"Bearer {key}"
        try:
            line.request(method, path, body, said)
            answer = line.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read().decode()
        finally:
            line.close()

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port.number), timeout=5) as line:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(instruments_port, "LOOK_S", 0.01)
    one = Place(tmp_path)
    yield one
    one.port.close()


def error(answer: Answer) -> Any:
    status, headers, body = answer
    assert status >= 400
    assert headers["content-type"] == "application/json"
    return json.loads(body)["error"]


def test_without_keys_metrics_are_open_and_the_rest_is_closed(place: Place) -> None:
    status, _, page = place.ask("/metrics")
    assert status == 200
    assert "answer 42.0" in page
    for path in ("/admin/pool", "/admin/whim", "/admin", "/administer"):
        answer = place.ask(path, ADMIN_KEY)
        assert answer[0] == 403
        assert "set metrics.admin_key_file" in error(answer)["message"]
    assert place.refused == {"no_key": 4}


def test_each_part_has_a_key_of_its_own(place: Place) -> None:
    place.lock()
    assert place.ask("/metrics", METRICS_KEY)[0] == 200
    status, headers, body = place.ask("/admin/pool", ADMIN_KEY)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == place.pool.status()
    for path, key in (("/metrics", ADMIN_KEY), ("/admin/pool", METRICS_KEY)):
        answer = place.ask(path, key)
        assert answer[0] == 401
        assert answer[1]["www-authenticate"].startswith("Bearer")
        assert error(answer)["code"] == "invalid_api_key"
        assert key not in answer[2]
    for path in ("/metrics", "/admin/pool", "/admin/whim"):
        assert error(place.ask(path))["code"] == "missing_api_key"
    assert place.refused == {"wrong_key": 2, "no_key": 3}


def test_an_operator_changes_the_pool(place: Place) -> None:
    place.lock()
    body = json.dumps({"name": "oldest_first"}).encode()
    assert place.ask("/admin/policy", ADMIN_KEY, "PUT", body)[0] == 200
    assert place.pool.policy == "oldest_first"
    assert place.ask("/admin/drain", ADMIN_KEY, "POST", b'{"node": "node-0"}')[0] == 200
    assert place.pool.draining == ["node-0"]
    assert place.ask("/admin/explain?agent=planner", ADMIN_KEY)[0] == 200
    assert place.ask("/admin/policy", METRICS_KEY, "PUT", b'{"name": "static"}')[0] == 401
    assert place.pool.policy == "oldest_first"


@pytest.mark.parametrize(
    "said",
    [
        b"Bearer",
        b"Bearer ",
        ADMIN_KEY.encode(),
        b"Basic " + ADMIN_KEY.encode(),
        b"Bearer " + ADMIN_KEY.encode() + b", Bearer x",
        b"Bearer \xc3\xa4\xff",
        b"Bearer " + b"x" * 60_000,
    ],
)
def test_a_malformed_key_is_a_wrong_one(place: Place, said: bytes) -> None:
    place.lock()
    answer = place.raw(b"GET /admin/pool HTTP/1.1\r\nAuthorization: " + said + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 401 ")
    assert place.refused == {"wrong_key": 1}


def test_two_keys_at_once_are_none(place: Place) -> None:
    place.lock()
    line = b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n"
    answer = place.raw(b"GET /admin/pool HTTP/1.1\r\n" + line * 2 + b"\r\n")
    assert answer.startswith(b"HTTP/1.0 401 ")


def test_who_guesses_is_slowed_down(place: Place) -> None:
    place.lock()
    for _ in range(instruments_port.WRONG_PER_MINUTE_MAX):
        assert place.ask("/admin/pool", "guess")[0] == 401
    status, headers, _ = place.ask("/metrics", "guess")
    assert (status, headers["retry-after"]) == (429, "2")
    assert place.ask("/admin/pool", ADMIN_KEY)[0] == 200, "who knows it is let in"
    place.now_s += 2
    assert place.ask("/admin/pool", "guess")[0] == 401
    assert place.refused == {"wrong_key": 31, "too_many_wrong_keys": 1}


def test_a_key_file_that_is_not_there_lets_nobody_in(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.lock()
    place.files[0].unlink()
    answer = place.ask("/metrics", METRICS_KEY)
    assert (answer[0], error(answer)["code"]) == (503, "no_keys")
    assert "cannot be read: No such file" in caplog.text
    assert place.refused == {"key_file": 1}
    assert place.ask("/admin/pool", ADMIN_KEY)[0] == 200


def test_what_leads_nowhere_is_told_where_to_go(place: Place) -> None:
    place.lock()
    for path in ("/", "/metric", "/v1/models", "/metrics/"):
        answer = place.ask(path)
        assert (answer[0], error(answer)["code"]) == (404, "unknown_route")
    assert place.ask("/metrics", METRICS_KEY, "POST", b"")[0] == 405
    assert place.ask("/admin/drain", ADMIN_KEY)[0] == 405


def test_a_body_is_bounded_and_has_to_arrive(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.lock()
    head = b"POST /admin/drain HTTP/1.1\r\nAuthorization: Bearer " + ADMIN_KEY.encode() + b"\r\n"

    def status(more: bytes) -> int:
        return int(place.raw(head + more).split(b" ", 2)[1])

    assert status(b"\r\n") == 411
    assert status(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n") == 411
    assert status(b"Content-Length: many\r\n\r\n") == 400
    assert status(b"Content-Length: -1\r\n\r\n") == 400
    assert status(b"Content-Length: 65537\r\n\r\n") == 413
    assert status(b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n") == 413
    assert status(b"Content-Length: 100\r\n\r\n{}") == 408
    monkeypatch.setattr(instruments_port._Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", place.port.number), timeout=5) as line:
        line.sendall(head + b"Content-Length: 100\r\n\r\n{}")
        assert line.recv(65_536).startswith(b"HTTP/1.0 408 "), "it is not waited for"
    assert place.pool.told == []


def test_a_bug_is_logged_and_answered(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.lock()
    place.pool.trouble = RuntimeError("a bug")
    answer = place.ask("/admin/pool", ADMIN_KEY)
    assert (answer[0], error(answer)["code"]) == (500, "internal_error")
    assert "a bug" not in answer[2]
    assert "GET /admin/pool failed" in caplog.text


def test_so_many_are_heard_at_once(place: Place) -> None:
    """One more is closed unheard, and is let in when another has gone."""
    here = ("127.0.0.1", place.port.number)
    with ExitStack() as stack:
        for _ in range(instruments_port.CONNECTIONS_MAX):
            stack.enter_context(socket.create_connection(here, timeout=5))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            place.ask("/metrics")
    deadline = time.monotonic() + 5
    while True:
        with suppress(ConnectionError, http.client.HTTPException):
            assert place.ask("/metrics")[0] == 200
            return
        assert time.monotonic() < deadline, "those who left still count"


def test_who_says_nothing_is_let_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert instruments_port._Handler.timeout == instruments_port.SILENT_S
    monkeypatch.setattr(instruments_port._Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", place.port.number), timeout=5) as line:
        assert line.recv(1) == b""


def test_a_port_that_is_taken_is_named_with_the_remedy(place: Place) -> None:
    with pytest.raises(EngineBroken, match=r"metrics.port \d+ on 127.* choose another port"):
        InstrumentsPort("127.0.0.1", place.port.number, lambda *_: [])
    with pytest.raises(EngineBroken, match=r"metrics.port 0 on nowhere.invalid cannot be opened"):
        InstrumentsPort("nowhere.invalid", 0, lambda *_: [])


def test_it_listens_on_ipv6_too(place: Place) -> None:
    try:
        port = InstrumentsPort(
            "::1", 0, PortApp(lambda *_: [], Admin(place.pool.reach), place.gate)
        )
    except EngineBroken:
        pytest.skip("not here: this machine has no IPv6")
    with socket.create_connection(("::1", port.number), timeout=5) as line:
        line.sendall(b"GET /nowhere HTTP/1.1\r\n\r\n")
        assert line.recv(65_536).startswith(b"HTTP/1.0 404 ")
    port.close()
