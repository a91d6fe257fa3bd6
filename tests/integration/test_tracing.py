"""Traces of a real service, as a collector gets them: one a turn, and it adds up to the account."""

import asyncio
import secrets
from collections import Counter
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from coordsvc.core.accounting import PARTS
from tests.collector import Collector, values
from tests.integration.apps import Services

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

MICROS = 1_000_000


class Client:
    """Asks for one turn, under a trace of its own."""

    def __init__(self, services: Services, *, sampled: bool = True) -> None:
        self.url = f"{services.scripted.direct_url}/v1/chat/completions"
        self.trace_id = secrets.randbits(128) | 1
        self.span_id = secrets.randbits(64) | 1
        self.flags = "01" if sampled else "00"
        self.answered = ""
        """The response's `traceparent`."""

    @property
    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags}"}

    async def ask(self, text: str = "Hello", model: str = "scripted", **more: Any) -> Any:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "coordsvc": {"mode": "check_then_send", **more},
        }
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.post(self.url, json=body) as answer,
        ):
            self.answered = answer.headers["traceparent"]
            return await answer.json()

    async def trace(self, collector: Collector, spans: int) -> list[Span]:
        return await asyncio.to_thread(collector.turn, self.trace_id, spans)


def named(spans: list[Span]) -> Counter[str]:
    return Counter(span.name for span in spans)


async def test_a_turn_is_one_trace_that_adds_up_to_the_account_in_its_reply(
    services: Services,
) -> None:
    client = Client(services)
    reply = await client.ask("wait a moment")
    root, *rest = await client.trace(services.collector, 7)
    assert named([root, *rest]) == {
        "invoke_workflow coordsvc": 1,
        "invoke_agent planner": 1,
        "invoke_agent responder": 1,
        "invoke_agent checker": 1,
        "chat scripted": 3,
    }
    _, trace_id, span_id, flags = client.answered.split("-")
    assert (root.trace_id.hex(), root.span_id.hex(), flags) == (trace_id, span_id, "01")
    assert int.from_bytes(root.parent_span_id) == client.span_id
    account = reply["coordsvc"]["account"]
    found: Counter[str] = Counter()
    for span in (root, *rest):
        for name, value in values(span.attributes).items():
            if isinstance(value, float):
                found[name] += round(value * MICROS)
    # the reply cannot tell yet what sending it costs: that is the ingress's, and in the trace
    sending = found["coordsvc.turn.wall_s"] - round(account["wall_s"] * MICROS)
    assert sending >= 0
    wanted = {part: round(us * MICROS) for part, us in account["parts_s"].items()}
    wanted["ingress"] += sending
    assert {part: found[f"coordsvc.part.{part}_s"] for part in PARTS} == wanted
    assert found["coordsvc.solo_s"] == round(account["solo_s"] * MICROS)
    assert root.end_time_unix_nano - root.start_time_unix_nano == (
        (found["coordsvc.solo_s"] + sum(wanted.values())) * 1_000
    )


async def test_phases_lie_in_the_turn_engines_in_phases_and_offers_are_events(
    services: Services,
) -> None:
    client = Client(services)
    await client.ask("wait a moment")
    spans = {span.span_id: span for span in await client.trace(services.collector, 7)}
    for span in spans.values():
        above = spans.get(span.parent_span_id)
        if above is None:
            assert span.kind == Span.SPAN_KIND_SERVER
            continue
        assert above.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano < span.end_time_unix_nano <= above.end_time_unix_nano
        if span.name.startswith("chat"):
            continue
        (taken,) = span.events
        assert taken.name == "coordsvc.offer.taken"
        offer = values(taken.attributes)
        assert offer["coordsvc.offer.epoch"] >= 1
        assert offer["coordsvc.attempt"] == 1
        (engine,) = (one for one in spans.values() if one.parent_span_id == span.span_id)
        assert taken.time_unix_nano <= engine.start_time_unix_nano
        assert values(engine.attributes)["coordsvc.node"] == offer["coordsvc.node"]


async def test_the_service_and_its_replica_are_named(services: Services) -> None:
    client = Client(services)
    await client.ask()
    await client.trace(services.collector, 7)
    said = services.collector.resources[-1]
    assert said["service.name"] == "under-test"
    assert said["coordsvc.app"] == "scripted"
    assert said["service.instance.id"]


async def test_a_check_after_the_reply_follows_in_the_same_trace(services: Services) -> None:
    client = Client(services)
    await client.ask(mode="stream_then_check")
    root, *rest = await client.trace(services.collector, 7)
    (check,) = [span for span in rest if span.name == "invoke_agent checker"]
    (reply,) = [span for span in rest if span.name == "invoke_agent responder"]
    assert [link.span_id for link in check.links] == [reply.span_id]
    assert check.parent_span_id == root.span_id
    assert check.end_time_unix_nano > root.end_time_unix_nano


async def test_a_turn_that_its_client_does_not_trace_is_not_traced(services: Services) -> None:
    silent, last = Client(services, sampled=False), Client(services)
    await silent.ask()
    await last.ask()
    await last.trace(services.collector, 7)
    assert silent.answered.endswith("-00")
    ids = {span.trace_id for span in services.collector.spans}
    assert silent.trace_id.to_bytes(16) not in ids


async def test_a_turn_that_fails_says_where_and_why(services: Services) -> None:
    client = Client(services)
    answer = await client.ask("Tell me a slow story", deadline_s=0.5)
    assert answer["error"]["code"] == "deadline_passed"
    root, broken = await client.trace(services.collector, 2)
    assert root.status.code == broken.status.code == Status.STATUS_CODE_ERROR
    assert values(root.attributes)["error.type"] == "DeadlinePassed"
    assert broken.name == "invoke_agent planner", "the plan takes as long as the story"


async def test_a_client_that_leaves_is_in_its_trace(services: Services) -> None:
    client = Client(services)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.ask("wait a moment")
    root, *_ = await client.trace(services.collector, 2)
    assert values(root.attributes)["error.type"] == "client_gone"


async def test_a_request_that_is_refused_has_its_span_too(services: Services) -> None:
    client = Client(services)
    await client.ask(model="another")
    (root,) = await client.trace(services.collector, 1)
    assert values(root.attributes)["error.type"] == "model_not_found"
    assert root.span_id.hex() == client.answered.split("-")[2]


async def test_a_collector_that_hangs_costs_turns_nothing_and_its_losses_are_counted(
    services: Services,
) -> None:
    async def dropped() -> float:
        async with (
            aiohttp.ClientSession() as session,
            session.get(services.scripted.metrics_url) as page,
        ):
            families = text_string_to_metric_families(await page.text())
            (family,) = (one for one in families if one.name == "coordsvc_spans_dropped")
            return family.samples[0].value

    before = await dropped()
    services.collector.hangs.set()
    try:
        replies = [await Client(services).ask() for _ in range(5)]
        for _ in range(100):
            if await dropped() >= before + 5 * 7:
                break
            await asyncio.sleep(0.2)
        assert await dropped() == before + 5 * 7
    finally:
        services.collector.hangs.clear()
    assert all("account" in reply["coordsvc"] for reply in replies)
    client = Client(services)
    await client.ask()
    await client.trace(services.collector, 7)
