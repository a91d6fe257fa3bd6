"""The vLLM engine against a stand-in with vLLM's names: what it asks for, and what it reports."""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from coordsvc.core.errors import BadRequest, ContextTooLong, EngineBroken, Overloaded
from coordsvc.core.generation import FinishReason, GenerationRequest, Message, Sampling
from coordsvc.engines.adapters import Adapter
from coordsvc.engines.settings import ProfileSettings, VllmSettings
from coordsvc.engines.vllm import Library, VllmEngine, lora_arguments

KNOWN = ProfileSettings(prefill_us=1, decode_us=10)
WORDS = ("Queues", " are", " calm", ".")


class DeadError(Exception):
    """As vLLM's EngineDeadError."""


class FailedError(Exception):
    """As vLLM's EngineGenerateError."""


class ToyTokenizer:
    all_special_tokens = ("<s>",)
    all_special_ids = (1,)
    vocab_size = 300

    def get_added_vocab(self):
        return {"<s>": 1}

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return [1] if text == "<s>" else list(text.encode())

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        assert add_generation_prompt
        assert not tokenize
        return "".join(f"{m['role']}:{m['content']}\n" for m in messages) + "assistant:"


class ToyLLM:
    """Stands for AsyncLLM."""

    model_config = SimpleNamespace(max_model_len=500)
    errored = False
    dead_error = DeadError("process 7 exited")

    def __init__(self):
        self.asked = []
        self.adapters = []
        self.aborted = []
        self.stopped = False
        self.fail = None
        self.cut_short = False
        self.gate = asyncio.Event()
        self.gate.set()

    def get_tokenizer(self):
        return ToyTokenizer()

    async def generate(self, prompt, sampling_params, request_id, *, lora_request):
        self.asked.append((prompt, sampling_params, request_id))
        self.adapters.append(lora_request)
        try:
            if self.fail is not None:
                raise self.fail
            words = (
                WORDS
                if not sampling_params["ignore_eos"]
                else ("x",) * sampling_params["max_tokens"]
            )
            words = words[: sampling_params["max_tokens"]]
            for at, word in enumerate(words):
                last = at == len(words) - 1 and not self.cut_short
                yield self.output(word, last, "length" if len(words) < len(WORDS) else "stop")
                await self.gate.wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            raise

    def output(self, word, last, reason):
        return SimpleNamespace(
            outputs=[
                SimpleNamespace(text=word, token_ids=[7], finish_reason=reason if last else None)
            ],
            finished=last,
            num_cached_tokens=16,
            metrics=SimpleNamespace(queued_ts=100.0, scheduled_ts=100.0 + 1e-6),
        )

    def shutdown(self):
        self.stopped = True


async def started(llm=None, **settings):
    llm = llm or ToyLLM()
    library = Library(
        engine=llm,
        sampling_params=dict,
        structured_outputs=dict,
        prompt=dict,
        delta="delta",
        dead=(DeadError,),
        failed=(FailedError,),
        refused=(ValueError,),
        adapters={agent: f"LoRARequest of {agent}" for agent in settings.get("adapters", {})},
    )
    engine = VllmEngine(
        VllmSettings(**({"profile": KNOWN, "chunk_ms": 0} | settings)), lambda _: library
    )
    await engine.start()
    return engine, llm


def ask(text="hello", **options) -> GenerationRequest:
    return GenerationRequest(
        **({"messages": (Message("user", text),), "max_new_tokens": 40} | options)
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


async def test_vllm_is_asked_in_its_own_words():
    engine, llm = await started()
    sampling = Sampling(temperature=0.5, top_p=0.8, seed=3, stop=("X",))
    await answer(engine, ask("a<s>b", sampling=sampling, json_schema="{}"))
    prompt, params, _ = llm.asked[0]
    assert bytes(prompt["prompt_token_ids"]) == b"user:a<s>b\nassistant:"
    assert 1 not in prompt["prompt_token_ids"]
    assert params == {
        "temperature": 0.5,
        "top_p": 0.8,
        "seed": 3,
        "stop": ["X"],
        "max_tokens": 40,
        "ignore_eos": False,
        "output_kind": "delta",
        "structured_outputs": {"json": "{}"},
    }


async def test_each_request_goes_with_its_own_adapter_or_none():
    engine, llm = await started(adapters={"planner": "/a", "checker": "/b"})
    for adapter in ("planner", "", "checker"):
        await answer(engine, ask(adapter=adapter))
    assert llm.adapters == ["LoRARequest of planner", None, "LoRARequest of checker"]
    with pytest.raises(BadRequest, match="no adapter for 'responder'; there are: checker, planner"):
        await answer(engine, ask(adapter="responder"))
    assert len(llm.asked) == 3


async def test_with_adapters_the_solo_cost_is_that_of_a_request_under_one():
    _, llm = await started(profile=None, calibration_repeats=1, adapters={"planner": "/a"})
    assert set(llm.adapters) == {"LoRARequest of planner"}


@pytest.mark.parametrize(
    ("ranks", "told"), [((4, 8), 8), ((9,), 16), ((8, 300), 320), ((512,), 512)]
)
def test_vllm_is_told_the_highest_rank_in_the_steps_that_it_knows(ranks, told):
    adapters = tuple(
        Adapter(agent=f"a{rank}", folder=Path("/a"), rank=rank, scale=1.0, tensors={})
        for rank in ranks
    )
    assert lora_arguments(adapters) == {
        "enable_lora": True,
        "max_loras": len(ranks),
        "max_lora_rank": told,
    }


def test_without_adapters_vllm_is_told_nothing_of_them():
    assert lora_arguments(()) == {}


async def test_a_schema_is_left_out_when_the_reply_goes_on_from_a_prefix():
    engine, llm = await started()
    await answer(engine, ask(json_schema="{}", prefix="{"))
    assert llm.asked[0][1]["structured_outputs"] is None


async def test_the_reply_and_its_report():
    engine, _ = await started()
    text, report = await answer(engine, ask())
    assert text == "Queues are calm."
    assert (report.finish, report.output_tokens, report.cached_tokens) == (FinishReason.STOP, 4, 16)
    assert report.queue_us == 1
    assert report.solo_us + report.refill_us <= report.compute_us
    text, report = await answer(engine, ask(max_new_tokens=2))
    assert (text, report.finish) == ("Queues are", FinishReason.LENGTH)


async def test_between_chunks_text_is_gathered():
    engine, _ = await started(chunk_ms=1_000)
    chunks = [chunk.text async for chunk in engine.generate(ask())]
    assert chunks == ["Queues", " are calm."]


async def test_requests_have_names_of_their_own():
    engine, llm = await started()
    await asyncio.gather(*(answer(engine, ask()) for _ in range(3)))
    assert len({name for _, _, name in llm.asked}) == 3


async def test_leaving_early_aborts():
    engine, llm = await started()
    llm.gate.clear()
    stream = engine.generate(ask())
    await anext(stream)
    assert engine.running() == 1
    await stream.aclose()
    assert engine.running() == 0
    assert llm.aborted == ["coordsvc-0"]


async def test_a_cancelled_consumer_aborts():
    engine, llm = await started()
    llm.gate.clear()
    task = asyncio.create_task(answer(engine, ask()))
    await asyncio.sleep(0.001)
    assert engine.running() == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert engine.running() == 0
    assert llm.aborted == ["coordsvc-0"]


async def test_the_profile_is_measured_when_none_is_declared():
    engine, llm = await started(profile=None, calibration_repeats=1)
    assert len(llm.asked) == 5
    assert all(params["ignore_eos"] for _, params, _ in llm.asked)
    assert all(1 not in prompt["prompt_token_ids"] for prompt, _, _ in llm.asked)
    assert engine.running() == 0


async def test_a_dead_engine_is_broken_for_all():
    engine, llm = await started()
    llm.fail = DeadError("gone")
    with pytest.raises(EngineBroken, match="gone"):
        await answer(engine, ask())
    with pytest.raises(EngineBroken):
        engine.check()


async def test_one_request_that_fails_breaks_nobody_else():
    engine, llm = await started()
    llm.fail = FailedError("odd")
    with pytest.raises(EngineBroken, match="failed at this request"):
        await answer(engine, ask())
    engine.check()


async def test_check_asks_vllm():
    engine, llm = await started()
    engine.check()
    llm.errored = True
    with pytest.raises(EngineBroken, match="process 7 exited"):
        engine.check()


async def test_what_vllm_refuses_is_a_bad_request():
    engine, llm = await started()
    llm.fail = ValueError("top_p must be below 1")
    with pytest.raises(BadRequest, match="top_p must be below 1"):
        await answer(engine, ask())
    engine.check()


async def test_a_request_that_ends_unfinished_is_an_error():
    engine, llm = await started()
    llm.cut_short = True
    with pytest.raises(EngineBroken, match="without finishing"):
        await answer(engine, ask())


async def test_limits_are_kept():
    engine, llm = await started(batch_max=1, waiting_max=0)
    with pytest.raises(ContextTooLong, match="context of 500 tokens"):
        await answer(engine, ask("x" * 480))
    llm.gate.clear()
    stream = engine.generate(ask())
    await anext(stream)
    with pytest.raises(Overloaded):
        await answer(engine, ask())
    await stream.aclose()


async def test_stopping_shuts_vllm_down_and_twice_does_no_harm():
    engine, llm = await started()
    await engine.stop()
    await engine.stop()
    assert llm.stopped
    with pytest.raises(EngineBroken, match="stopped"):
        await answer(engine, ask())
