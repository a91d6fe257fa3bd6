"""What each agent is to learn from a tree: the prompt that the service would send, and its answer.

The prompts are made by the agents' own roles, so that an adapter is asked in service exactly what
it was trained on.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from coordsvc.agents.roles import ROLES, SCORE_MAX, Budget
from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Phase, PhaseWork, Run
from coordsvc.core.generation import Message, Sampling
from coordsvc.core.units import AgentId, Micros
from coordsvc.training.plans import plan_of
from coordsvc.training.trees import Forest, Said

BETTER_SCORE, WORSE_SCORE = 8, 3
"""Of two replies that were ranked and nothing else is known of."""
TOLD_FROM = 0.5
"""A label above this is said of a reply."""
PRAISE = {"quality": "good quality", "helpfulness": "helpful", "creativity": "creative"}
BLAME = {
    "spam": "spam",
    "lang_mismatch": "the wrong language",
    "not_appropriate": "not appropriate",
    "hate_speech": "hateful",
    "sexual_content": "sexual",
    "toxicity": "toxic",
    "violence": "violent",
    "fails_task": "it fails the task",
    "pii": "it tells personal data",
}
"""oasst1's labels, as a reason says them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One prompt and the answer to be learned."""

    agent: AgentId
    messages: tuple[Message, ...]
    target: str
    tree: str
    id: str
    """Of the message that it is made from, and the agent."""


def draw(forest: Forest, turns: int, drops: Counter[str]) -> Iterator[Sample]:
    """Yield all samples of a forest, each once; what could not be one is counted in `drops`.

    `turns`: exchanges of user and assistant that a prompt has at most, the last one included.
    """
    seen: set[bytes] = set()
    for sample in _all(forest, turns, drops):
        name = _content(sample)
        if name in seen:
            drops["doubled_sample"] += 1
            continue
        seen.add(name)
        yield sample


def _all(forest: Forest, turns: int, drops: Counter[str]) -> Iterator[Sample]:
    for asked in sorted(forest.said.values(), key=lambda one: (one.tree, one.id)):
        replies = forest.children.get(asked.id, ())
        if asked.message.speaker != "user" or not replies:
            continue
        conversation = forest.history(asked, 2 * turns - 1)
        if conversation[0].speaker != "user":
            conversation = conversation[1:]
        for reply in replies:
            yield from _spoken(conversation, reply, drops)
        yield from _judged(conversation, replies, drops)


def _spoken(
    conversation: tuple[Message, ...], reply: Said, drops: Counter[str]
) -> Iterator[Sample]:
    text = reply.message.text
    plan = plan_of(text)
    if not plan:
        drops["no_plan"] += 1
        return
    yield _sample(Run(Phase.PLAN, PLANNER), conversation, plan, reply)
    yield _sample(Run(Phase.RESPOND, RESPONDER, plan=plan), conversation, text, reply)


def _judged(
    conversation: tuple[Message, ...], replies: Sequence[Said], drops: Counter[str]
) -> Iterator[Sample]:
    """Yield the best and the worst of ranked siblings, with a verdict for each."""
    ranked = [one for one in replies if one.rank is not None]
    if len(ranked) < 2 or ranked[0].rank == ranked[-1].rank:  # noqa: PLR2004 - two to compare
        if len(replies) > 1:
            drops["siblings_not_ranked"] += 1
        return
    if _plain(ranked[0].message.text) == _plain(ranked[-1].message.text):
        # one answer to one question cannot be right and wrong
        drops["siblings_alike"] += 1
        return
    for reply, accept in ((ranked[0], True), (ranked[-1], False)):
        run = Run(Phase.CHECK, CHECKER, draft=reply.message.text)
        yield _sample(run, conversation, _verdict(reply, accept=accept), reply)


def _verdict(reply: Said, *, accept: bool) -> str:
    """Return what the checker should answer, as the service's schema has it."""
    quality = reply.labels.get("quality")
    score = BETTER_SCORE if accept else WORSE_SCORE
    if quality is not None:
        half = SCORE_MAX // 2
        told = round(quality * SCORE_MAX)
        score = min(SCORE_MAX, max(half + 1, told)) if accept else max(0, min(half, told))
    words = PRAISE if accept else BLAME
    told_of = [
        (value, words[name])
        for name, value in reply.labels.items()
        if name in words and value > TOLD_FROM
    ]
    usual = "people ranked it above other answers" if accept else "people ranked others above it"
    reason = max(told_of)[1] if told_of else usual
    return json.dumps({"accept": accept, "score": score, "reason": reason})


def _sample(run: Run, conversation: tuple[Message, ...], target: str, reply: Said) -> Sample:
    work = PhaseWork(
        turn_id="",
        run=run,
        conversation=conversation,
        max_tokens=1,
        sampling=Sampling(),
        stream=False,
        left_us=Micros(0),
    )
    return Sample(
        agent=run.agent,
        messages=ROLES[run.agent].ask(work, Budget()).messages,
        target=target,
        tree=reply.tree,
        id=f"{reply.id}/{run.agent}",
    )


def _content(sample: Sample) -> bytes:
    """Return a name for what is asked and answered, whatever its spaces and capitals."""
    digest = blake2b(sample.agent.encode(), digest_size=16)
    for text in (*(message.text for message in sample.messages), sample.target):
        digest.update(b"\0" + _plain(text).encode(errors="replace"))
    return digest.digest()


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def held_out_trees(samples: Iterable[Sample], share: float, seed: int) -> frozenset[str]:
    """Return the trees that are kept from training: a share of them, chosen by hash and seed.

    At least one, and never all, where there are two.
    """
    trees = sorted({sample.tree for sample in samples}, key=lambda tree: _draw(seed, tree))
    wanted = round(share * len(trees))
    if share > 0 and len(trees) > 1:
        wanted = min(max(wanted, 1), len(trees) - 1)
    return frozenset(trees[:wanted])


def _draw(seed: int, tree: str) -> bytes:
    return blake2b(f"{seed}\0{tree}".encode(), digest_size=16).digest()


def conversation_of(sample: Sample) -> tuple[Message, ...]:
    """Return what was said, without what the agents' roles add before and after."""
    speakers = [message.speaker for message in sample.messages]
    instruction = len(speakers) - 1 - speakers[::-1].index("system")
    return sample.messages[1:instruction]
