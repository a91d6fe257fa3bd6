"""The routes beside chat, and how unknown ones are refused."""

import subprocess
import sys

import pytest

from tests.unit.serving.http.fakes import CREATED, MODEL, ask, build, result

pytestmark = pytest.mark.asyncio


async def test_models_lists_the_one_that_is_served() -> None:
    house = build()
    model = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "coordsvc"}
    listed = await house.get("/v1/models")
    assert listed.json() == {"object": "list", "data": [model]}
    assert (await house.get(f"/v1/models/{MODEL}")).json() == model


async def test_an_unknown_model_is_named_in_a_404() -> None:
    reply = await build().get("/v1/models/some/other")
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert "some/other" in reply.json()["error"]["message"]
    assert MODEL in reply.json()["error"]["message"]


async def test_an_emulated_model_says_so() -> None:
    model = (await build(emulated=True).get("/v1/models")).json()["data"][0]
    assert model["coordsvc"] == {"emulated": True}


async def test_a_recent_turn_can_be_looked_up_with_its_later_check() -> None:
    house = build()
    turn_id = (await house.post(ask())).json()["coordsvc"]["turn_id"]
    house.turns.recent[turn_id] = result(gave_up=True)
    turn = (await house.get(f"/v1/turns/{turn_id}")).json()
    assert turn["id"] == turn_id
    assert turn["text"] == "Hello there."
    assert turn["coordsvc"]["gave_up"] is True
    assert turn["coordsvc"]["verdict"] == {"accept": True, "score": 9, "reason": "fine"}
    assert turn["coordsvc"]["account"]["c_coord_s"] == 0.005


async def test_an_unknown_turn_is_a_404() -> None:
    reply = await build().get("/v1/turns/turn-0")
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "turn_not_found"


async def test_an_unknown_route_is_a_404_in_openai_shape() -> None:
    for path in ("/v1/embeddings", "/", "/v1/models/", "/v1/turns"):
        reply = await build().get(path)
        assert reply.status_code == 404, path
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_wrong_method_is_a_405_that_names_the_right_one() -> None:
    reply = await build().get("/v1/chat/completions")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert reply.json()["error"]["code"] == "method_not_allowed"


async def test_the_process_is_alive_before_it_is_ready() -> None:
    async def loading() -> str | None:
        return "the engine is loading"

    house = build(ready=loading)
    assert (await house.get("/healthz")).status_code == 200
    reply = await house.get("/readyz")
    assert reply.status_code == 503
    assert "the engine is loading" in reply.json()["error"]["message"]
    assert reply.headers["retry-after"] == "1"


async def test_turns_are_refused_until_ready_once_and_then_not_asked_about_again() -> None:
    answers = ["the engine is loading", None, "a blink"]

    async def ready() -> str | None:
        return answers.pop(0)

    house = build(ready=ready)
    refused = await house.post(ask())
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "not_ready"
    assert house.turns.asked == []
    assert (await house.post(ask())).status_code == 200
    assert (await house.post(ask())).status_code == 200
    assert answers == ["a blink"]
    assert (await house.get("/readyz")).status_code == 503


async def test_the_documentation_knows_the_chat_body() -> None:
    document = (await build().get("/openapi.json")).json()
    post = document["paths"]["/v1/chat/completions"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert {"model", "messages", "stream", "coordsvc"} <= set(schema["properties"])
    text = str(document)
    for name in ("ChatMessage", "Extension", "ErrorReply"):
        assert f"#/components/schemas/{name}" in text
        assert name in document["components"]["schemas"]
    assert "422" not in text


async def test_the_door_needs_no_ray() -> None:
    program = "import sys; sys.modules['ray'] = None; import coordsvc.serving.http.app"
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: ASYNC221
