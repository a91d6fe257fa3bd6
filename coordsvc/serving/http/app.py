"""The HTTP door's routes, in front of whoever answers turns."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from coordsvc import __version__
from coordsvc.ports import Turns
from coordsvc.serving.http.chat import Chat
from coordsvc.serving.http.door import Door
from coordsvc.serving.http.errors import Problem, Rejection, unavailable
from coordsvc.serving.http.middleware import Envelope, exchange_of
from coordsvc.serving.http.replies import recent_turn
from coordsvc.serving.http.schema import ChatBody

__all__ = ["Door", "build_app"]

_REF = "#/components/schemas/{model}"


class ErrorDetail(BaseModel):
    """What went wrong (for the documentation)."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """Every error's shape (for the documentation)."""

    error: ErrorDetail


_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorReply, "description": "the request is refused; the error says why"},
    "5XX": {"model": ErrorReply, "description": "the service failed, or is not ready"},
}


class _DoorApp(FastAPI):
    """A FastAPI whose documentation knows the body that the chat route reads by itself."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            schemas.update(ChatBody.model_json_schema(ref_template=_REF)["$defs"])
        return super().openapi()


def build_app(turns: Turns, door: Door) -> FastAPI:
    """Return the application: OpenAI's chat and models, our turns, and two probes."""
    app = _DoorApp(title="coordsvc", version=__version__, redirect_slashes=False)
    app.add_middleware(Envelope, door=door)
    app.add_exception_handler(HTTPException, _no_route)
    _add_chat(app, Chat(turns, door))
    _add_models(app, door)
    _add_turns(app, turns)
    _add_probes(app, door)
    return app


def _add_chat(app: FastAPI, chat: Chat) -> None:
    schema = ChatBody.model_json_schema(ref_template=_REF)
    schema.pop("$defs")
    body = {"required": True, "content": {"application/json": {"schema": schema}}}

    @app.post(
        "/v1/chat/completions",
        openapi_extra={"requestBody": body},
        responses=_ERRORS,
        tags=["chat"],
    )
    async def chat_completions(_request: Request) -> Response:
        """Answer the conversation's last message; with `stream`, as server-sent events."""
        return chat


def _add_models(app: FastAPI, door: Door) -> None:
    model: dict[str, object] = {
        "id": door.model,
        "object": "model",
        "created": door.created,
        "owned_by": "coordsvc",
    }
    if door.emulated:
        model["coordsvc"] = {"emulated": True}

    @app.get("/v1/models", responses=_ERRORS, tags=["models"])
    async def list_models() -> Response:
        """List the served model."""
        return _json({"object": "list", "data": [model]})

    @app.get("/v1/models/{model_id:path}", responses=_ERRORS, tags=["models"])
    async def find_model(model_id: str) -> Response:
        """Describe the served model."""
        if model_id != door.model:
            message = f"no model {model_id[:100]!r}: this service serves {door.model!r}"
            raise _not_found(message, "model", "model_not_found")
        return _json(model)


def _add_turns(app: FastAPI, turns: Turns) -> None:
    @app.get("/v1/turns/{turn_id}", responses=_ERRORS, tags=["turns"])
    async def find_turn(request: Request, turn_id: str) -> Response:
        """Tell a recent turn's outcome and account, its check after the reply included."""
        result = turns.find(turn_id)
        caller = exchange_of(request.scope).caller
        if result is None or (caller is not None and caller.tenant != result.tenant):
            message = f"no turn {turn_id[:100]!r}: it never was, or is too long ago"
            raise _not_found(message, "turn_id", "turn_not_found")
        return Response(recent_turn(turn_id, result), media_type="application/json")


def _add_probes(app: FastAPI, door: Door) -> None:
    @app.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
    async def healthz() -> Response:
        """Tell that the process lives."""
        return _json({"status": "alive"})

    @app.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
    async def readyz() -> Response:
        """Tell whether turns can be answered."""
        reason = await door.ready()
        if reason is not None:
            wait = door.settings.retry_after_s
            raise Rejection(unavailable(f"not ready: {reason}", "not_ready", wait))
        return _json({"status": "ready"})


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, in OpenAI's shape."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method[:20]} {request.url.path[:100]}"
    code = {404: "unknown_route", 405: "method_not_allowed"}.get(error.status_code)
    known = "see /docs for what there is"
    problem = Problem(
        status=error.status_code, message=f"{error.detail}: {asked}; {known}", code=code
    )
    return Response(problem.body(), problem.status, error.headers, "application/json")


def _not_found(message: str, param: str, code: str) -> Rejection:
    return Rejection(Problem(status=404, message=message, param=param, code=code))


def _json(value: Mapping[str, object]) -> Response:
    return Response(to_json(value), media_type="application/json")
