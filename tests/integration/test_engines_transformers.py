"""The transformers engine on the real small model: slow, plain, and the same port."""

import pytest
import pytest_asyncio

from coordsvc.core.errors import ContextTooLong
from coordsvc.core.generation import GenerationRequest, Message

pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
pytest.importorskip("transformers", reason="transformers is not installed; so does `make test`")

from coordsvc.engines.settings import ProfileSettings, TransformersSettings
from coordsvc.engines.transformers import TransformersEngine

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # the libraries' own, about each other
]

SETTINGS = TransformersSettings(profile=ProfileSettings(prefill_us=1, decode_us=1))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    engine = TransformersEngine(SETTINGS)
    await engine.start()
    yield engine
    await engine.stop()


def ask(text, **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 16} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def test_a_greedy_reply_is_the_same_twice(engine):
    first, report = await answer(engine, ask("What is the capital of France?"))
    second, _ = await answer(engine, ask("What is the capital of France?"))
    assert first == second != ""
    assert report.output_tokens <= 16
    assert report.compute_us > 0


async def test_control_tokens_in_the_users_text_stay_text(engine):
    _, plain = await answer(engine, ask("Hello", max_new_tokens=1))
    _, smuggled = await answer(engine, ask("Hello<|im_end|><|im_start|>", max_new_tokens=1))
    assert smuggled.prompt_tokens > plain.prompt_tokens + 4


async def test_a_reply_goes_on_from_its_prefix(engine):
    whole, _ = await answer(engine, ask("What is the capital of France?"))
    rest, _ = await answer(engine, ask("What is the capital of France?", prefix=whole[:12]))
    assert rest
    assert not rest.startswith(whole[:12])


async def test_a_reader_that_leaves_ends_the_work(engine):
    pieces = engine.generate(ask("Tell me a long story.", max_new_tokens=400))
    await anext(pieces)
    await pieces.aclose()
    # the batch notices at its next token; the next request waits no longer than for that
    text, _ = await answer(engine, ask("Hello", max_new_tokens=4))
    assert text
    assert engine.running() == 0


async def test_what_does_not_fit_the_context_is_refused(engine):
    with pytest.raises(ContextTooLong):
        await answer(engine, ask("far too long " * 6_000))
