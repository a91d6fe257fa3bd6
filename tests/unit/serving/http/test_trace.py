"""Request ids and trace contexts, honest and forged."""

import pytest

from coordsvc.core.errors import DeadlinePassed
from coordsvc.core.trace import Sampling, TraceContext
from coordsvc.serving.http.trace import Names
from tests.fakes import FakeTracer
from tests.unit.serving.http.fakes import JSON, ask, build

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_sane_request_id_is_echoed() -> None:
    names = Names.of([(b"x-request-id", b"abc-1.2:3/4@x"), (b"x-request-id", b"second")])
    assert names.request_id == b"abc-1.2:3/4@x"


@pytest.mark.parametrize("forged", [b"", b"a b", b"a\r\nset-cookie: x", b"x" * 129, b"\xff", b'"'])
def test_an_insane_request_id_is_replaced(forged: bytes) -> None:
    names = Names.of([(b"x-request-id", forged)])
    assert names.request_id == names.turn_id.replace("turn-", "req-").encode()


@pytest.mark.parametrize(
    "value", [f"00-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-more"]
)
def test_a_valid_traceparent_keeps_its_trace_and_gets_our_span(value: str) -> None:
    names = Names.of([(b"traceparent", value.encode())])
    version, trace, span, flags = dict(names.headers())[b"traceparent"].decode().split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != PARENT


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}x-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_a_bad_traceparent_counts_as_none(value: str) -> None:
    names = Names.of([(b"traceparent", value.encode())])
    assert b"turn-" + names.trace_id == names.turn_id.encode()


@pytest.mark.asyncio
async def test_every_response_carries_its_names_and_only_turns_a_turn_id() -> None:
    house = build()
    given = {"x-request-id": "mine", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    turn, refused = await house.post(ask(), JSON | given), await house.post(b"", JSON | given)
    async with house.client() as client:
        others = [await client.get(p, headers=given) for p in ("/healthz", "/nowhere")]
    for reply in (turn, refused, *others):
        assert reply.headers["x-request-id"] == "mine"
        assert reply.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert ("x-turn-id" in reply.headers) == (reply is turn)


@pytest.mark.asyncio
async def test_turn_ids_are_ours_and_never_repeat() -> None:
    house = build()
    for _ in range(3):
        await house.post(ask(), JSON | {"x-request-id": "same"})
    ids = [request.turn_id for request in house.turns.asked]
    assert len(set(ids)) == 3
    assert all(turn_id.startswith("turn-") and len(turn_id) == 37 for turn_id in ids)


# Which turns are traced

ALL, NONE = Sampling.of(1.0), Sampling.of(0.0)


def traceparent(flags: str) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sampling", "given", "traced", "flags"),
    [
        (None, {}, False, "00"),
        (None, traceparent("01"), False, "01"),
        (ALL, {}, True, "01"),
        (NONE, {}, False, "00"),
        (ALL, traceparent("00"), False, "00"),
        (NONE, traceparent("01"), True, "01"),
        (NONE, traceparent("03"), True, "03"),
        (Sampling.of(0.0, heeds_parent=False), traceparent("03"), False, "02"),
        (Sampling.of(1.0, heeds_parent=False), traceparent("00"), True, "01"),
        (ALL, {"traceparent": "nonsense"}, True, "01"),
    ],
)
async def test_a_turn_is_traced_under_the_span_that_its_response_names(
    sampling: Sampling | None, given: dict[str, str], traced: bool, flags: str
) -> None:
    house = build(sampling=sampling)
    reply = await house.post(ask(), JSON | given)
    _, trace_id, span_id, said = reply.headers["traceparent"].split("-")
    assert said == flags
    parent = int(PARENT, 16) if given.get("traceparent", "").startswith("00-") else None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), parent)
    assert house.turns.asked[0].trace == (context if traced else None)


@pytest.mark.asyncio
async def test_a_refused_request_has_the_span_that_its_client_was_told_of() -> None:
    tracer = FakeTracer()
    house = build(sampling=ALL, tracer=tracer)
    reply = await house.post(ask() | {"model": "other"})
    (told,) = tracer.turns
    _, trace_id, span_id, _ = reply.headers["traceparent"].split("-")
    assert told.context == TraceContext(int(trace_id, 16), int(span_id, 16))
    assert (told.error, told.request, told.spans) == ("model_not_found", None, ())
    await house.post(b"")
    assert tracer.turns[-1].error == "invalid_json"


@pytest.mark.asyncio
async def test_other_requests_are_not_traced_nor_are_refusals_outside_the_sample() -> None:
    tracer = FakeTracer()
    house = build(sampling=ALL, tracer=tracer)
    await house.get("/v1/turns/none")
    await house.get("/nowhere")
    await house.post(ask())
    await build(DeadlinePassed("late"), sampling=ALL, tracer=tracer).post(ask())
    await build(sampling=NONE, tracer=tracer).post(b"")
    assert tracer.turns == [], "a turn that began is its conductor's to tell of"
