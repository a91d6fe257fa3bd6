from coordsvc.bench import script
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.scripted import ScriptedEngine
from coordsvc.engines.settings import ScriptedSettings


async def said(engine, text, **more):
    request = GenerationRequest(messages=(Message("user", text),), max_new_tokens=100, **more)
    return [chunk.text async for chunk in engine.generate(request)]


async def test_the_engine_says_what_the_question_expects() -> None:
    engine = ScriptedEngine(ScriptedSettings.model_validate(script.engine(4, piece_ms=0.0)))
    await engine.start()
    for turn in range(2 * script.REPLIES):
        asked = script.question(turn)
        pieces = await said(engine, asked.body["messages"][-1]["content"])
        assert "".join(pieces) == asked.expected
        assert len(pieces) == (script.PIECES if asked.streamed else 1)


async def test_a_verdict_comes_in_one_piece_under_any_rule() -> None:
    engine = ScriptedEngine(ScriptedSettings.model_validate(script.engine(4, piece_ms=0.0)))
    await engine.start()
    assert await said(engine, "tell 3.", json_schema="{}") == [script.VERDICT]


def test_every_second_question_wants_a_stream_and_replies_differ_in_every_word() -> None:
    asked = [script.question(turn) for turn in range(6)]
    assert [one.streamed for one in asked] == [True, False] * 3
    assert all(one.streamed for one in (script.question(n, streams_only=True) for n in range(4)))
    words = [word for number in range(script.REPLIES) for word in script.reply(number).split()]
    assert len(set(words)) == len(words)
