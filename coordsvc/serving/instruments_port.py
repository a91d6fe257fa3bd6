"""The instruments' own port: `/metrics` for Prometheus, `/admin/...` for who operates the pool.

Plain WSGI on threads, beside the actor's loop: it answers while the actor is busy, and whoever
keeps it busy delays no turn. Each part has a key of its own.
"""

import logging
import math
import socket
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pydantic_core import to_json

from coordsvc.core.errors import EngineBroken
from coordsvc.core.units import SECOND, Instant
from coordsvc.serving.admin import Admin, Asked, no_route, wrong_method
from coordsvc.serving.http.errors import Problem, Rejection, busy, invalid
from coordsvc.serving.http.keys import bearer, unknown_key
from coordsvc.serving.http.limits import Offenders
from coordsvc.serving.port_keys import PortKeys
from coordsvc.settings.keys import KeysUnreadable

log = logging.getLogger(__name__)

METRICS = "/metrics"
ADMIN = "/admin"
CONNECTIONS_MAX = 64
"""At once; a Prometheus or two, and a few people. One more is closed unheard."""
SILENT_S = 10.0
"""A client that says nothing, or takes nothing, for so long is let go."""
LOOK_S = 0.5
"""How often the server looks whether it is to end."""
BODY_BYTES_MAX = 1 << 16
WRONG_PER_MINUTE_MAX = 30
ADDRESSES_MAX = 1_000
"""Addresses that are remembered for having sent wrong keys."""
NO_ADMIN_KEY = (
    "the admin routes are closed: there is no admin key; set metrics.admin_key_file to a file "
    "that holds one"
)


class Gatekeeper:
    """Asks for the key of a part of the port; counts wrong ones by address."""

    def __init__(
        self, refused: Callable[[str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`refused` is told the reason of each refusal."""
        self._refused = refused
        self._now_s = now_s
        self._offenders = Offenders(WRONG_PER_MINUTE_MAX, ADDRESSES_MAX)
        self._lock = Lock()
        self._metrics: PortKeys | None = None
        self._admin: PortKeys | None = None

    def ask_for(self, key_file: str | None, admin_key_file: str | None) -> None:
        """Take the keys from these files from now on."""
        self._metrics = self._keys_in(key_file)
        self._admin = self._keys_in(admin_key_file)

    def let_in(self, path: str, environ: WSGIEnvironment) -> None:
        """Return if the request may go where it wants to; raise `Rejection` if not."""
        if path == METRICS:
            if self._metrics is not None:
                self._check(self._metrics, environ)
        elif self._admin is None:
            self._refused("no_key")
            raise Rejection(Problem(status=403, message=NO_ADMIN_KEY, code="admin_closed"))
        else:
            self._check(self._admin, environ)

    def _keys_in(self, file: str | None) -> PortKeys | None:
        return None if file is None else PortKeys(file, lambda: self._refused("key_file"))

    def _check(self, keys: PortKeys, environ: WSGIEnvironment) -> None:
        said = environ.get("HTTP_AUTHORIZATION")
        if said is None:
            self._refused("no_key")
            raise unknown_key("no key was given", "missing_api_key")
        word = bearer([str(said).encode("latin-1")])  # as wsgiref decodes it
        try:
            right = keys.opened_by(word)
        except KeysUnreadable as error:
            problem = Problem(status=503, message=str(error), type="server_error", code="no_keys")
            raise Rejection(problem) from error
        if right:
            return
        wait_s = self._wait_s(str(environ.get("REMOTE_ADDR", "")))
        if wait_s:
            self._refused("too_many_wrong_keys")
            raise Rejection(busy("too many wrong keys came from this address", wait_s))
        self._refused("wrong_key")
        raise unknown_key("the key is not known", "invalid_api_key")

    def _wait_s(self, address: str) -> int:
        with self._lock:
            now = Instant(round(self._now_s() * SECOND))
            return math.ceil(self._offenders.wait_us(address, now) / SECOND)


class PortApp:
    """Both parts of the port as one WSGI application."""

    def __init__(self, page: WSGIApplication, admin: Admin, gate: Gatekeeper) -> None:
        self._page = page
        self._admin = admin
        self._gate = gate

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request; whatever goes wrong, in OpenAI's shape."""
        path = str(environ.get("PATH_INFO", ""))
        method = str(environ["REQUEST_METHOD"])
        try:
            if path != METRICS and not path.startswith(ADMIN):
                raise no_route(path, [METRICS, ADMIN])  # noqa: TRY301 - all refusals go one way
            self._gate.let_in(path, environ)
            if path == METRICS:
                if method != "GET":
                    raise wrong_method(path, ["GET"])  # noqa: TRY301 - the same
                return self._page(environ, start)
            query = str(environ.get("QUERY_STRING", ""))
            asked = Asked(method=method, path=path, query=query, body=lambda: _body(environ))
            document = to_json(self._admin.answer(asked))
        except Rejection as refusal:
            return _problem(refusal.problem, start)
        except Exception:  # the last frame before the client: logged, and answered
            log.exception("%s %s failed", method, path[:100])
            message = "an unexpected error; it has been logged"
            problem = Problem(
                status=500, message=message, type="server_error", code="internal_error"
            )
            return _problem(problem, start)
        return _answer(HTTPStatus.OK, document, (), start)


class InstrumentsPort:
    """The server: open from the beginning, until it is closed."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        """Listen; raise `EngineBroken` saying why, if that cannot be."""
        try:
            family, *_, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._server = _server_class(family)(address, _Handler)
        except OSError as error:
            raise EngineBroken(
                f"metrics.port {port} on {host} cannot be opened ({error.strerror}); "
                "choose another port, or 0 for any free one"
            ) from error
        self._server.set_app(app)
        self.number = int(self._server.server_port)
        self._thread = Thread(
            target=self._server.serve_forever, args=(LOOK_S,), name="instruments-port", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    timeout = SILENT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing of each request."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, *args: Any) -> None:
        self._free = BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(*args)

    def server_bind(self) -> None:
        """Bind without asking the network for the host's name, as the base does."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take a client that hung up, or fell silent, for no news."""
        del request
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("a request of %s was not answered", client_address, exc_info=error)


def _server_class(family: socket.AddressFamily) -> type[_Server]:
    return type("_FamilyServer", (_Server,), {"address_family": family})


def _body(environ: WSGIEnvironment) -> bytes:
    """Return the request's body; raise `Rejection` for one without length, or too long."""
    told = str(environ.get("CONTENT_LENGTH") or "")
    if not told:
        raise Rejection(Problem(status=411, message="a body with a Content-Length is right"))
    if not (told.isascii() and told.isdigit()):
        raise invalid("Content-Length is no number")
    if len(told) > len(str(BODY_BYTES_MAX)) or int(told) > BODY_BYTES_MAX:
        message = f"the body is larger than {BODY_BYTES_MAX} bytes"
        raise Rejection(Problem(status=413, message=message, code="body_too_large"))
    length = int(told)
    try:
        body = environ["wsgi.input"].read(length)
    except TimeoutError:
        body = b""
    if len(body) != length:
        raise Rejection(Problem(status=408, message="the body did not arrive", code="body_late"))
    return bytes(body)


def _problem(problem: Problem, start: StartResponse) -> Iterable[bytes]:
    return _answer(HTTPStatus(problem.status), problem.body(), problem.headers, start)


def _answer(
    status: HTTPStatus,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    start: StartResponse,
) -> Iterable[bytes]:
    more = [(name.decode("ascii"), value.decode("ascii")) for name, value in headers]
    kind = [("content-type", "application/json"), ("content-length", str(len(body)))]
    start(f"{status.value} {status.phrase}", [*kind, *more])
    return [body]
