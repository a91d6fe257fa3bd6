"""A plan for a reply that is there already: which facts it contains, in one short sentence.

The planner is asked for just that, before there is a reply; so what it is to learn is drawn from
the structure of a good one. Headings come first, then the items of a list, then lines that begin
with a name and a colon, then the key words of its first sentences: of each the run of words between
stop words that scores best, where a word scores the mean length of the runs it stands in (RAKE:
Rose, Engel, Cramer, Cowley 2010). No model is asked, so the same reply has the same plan.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

BEGINNING = "The answer must contain:"
FACTS_MAX = 5
"""With six words each they fit the tokens that a plan may have in the service."""
WORDS_MAX = 6
CHARS_MAX = 60
"""Of a fact: languages that put no space between words have no other limit."""
ITEMS_MIN = 2
"""One heading, or one item, says nothing of how a reply is built."""
CODE = "an example in code"

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HEADING = re.compile(r"^\s{0,3}(?:#{1,6}\s+(\S.*)|\*\*(\S[^*]*)\*\*:?\s*)$")
_CLOSING = re.compile(r"\s#+$")
_ITEM = re.compile(r"^\s*(?:[-*•+]|\(?\d{1,2}[.)])\s+(\S.*)$")
_NAMED = re.compile(r"^\s*((?:\S+\s+){0,5}[^\s:]+):(?:\s|$)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|https?://\S+")
_MARKS = re.compile(r"\*\*|__|[`*]")
_LEAD_END = re.compile(r"[:;.!?(\[](?=\s|$)|\s[(\[]|\s[-–—]+\s|,\s")  # noqa: RUF001 - an en dash is met
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+|\n+")  # noqa: RUF001 - other scripts' marks
_WORD = re.compile(r"\w+(?:['’./+#&-]+\w+)*[+#]*")  # noqa: RUF001 - an apostrophe as people type it
_HANGING = frozenset(
    """
    a about after all an and any are as at be before but by can for from how if in into is it its
    not of on or other so such than that the their this to which while who will with your
    """.split()  # noqa: SIM905 - quotes would hide the words
)
_STOPS = frozenset(
    """
    a able about above according actually additional additionally after afterwards again all
    allow allows almost along already also although always am among an and another any anyone
    anything are aren't around as ask assistance at away based be became because become been
    before began being below between both but by called came can can't cannot certainly come
    comes could couldn't course currently day definitely depend depending depends did didn't
    do does doesn't doing don't done down due during each either else especially etc even ever
    every everyone everything example few finally find first for from further furthermore gave
    generally get gets give given gives glad go goes going good got great had happy has have
    haven't having he hello help helped helping helps hence her here here's hers hi him his
    hope how however i i'd i'll i'm i've if important in include includes including indeed
    instead into involve involves is isn't it it's its itself just keep know known later least
    less let let's like likely look lot made main mainly make makes making many may me mean
    means meanwhile might mine more moreover most mostly much must my need needed needs never
    next no nor not now of off often oh ok okay on once one ones only or other others
    otherwise our ours out over overall own particular people per perhaps please possible
    probably provide provided provides put question questions quite rather really refer refers
    regarding s said same say says second see seem seems several shall she should shouldn't
    similarly simply since so some something sometimes sorry still such sure t take takes than
    thank thanks that that's the their theirs them themselves then there there's therefore
    these they they're thing things think this those though through thus to together too
    toward towards try two typically ultimately under understand understanding unless until up
    upon us use used useful uses using usually various very want wants was wasn't way ways we
    well were weren't what when where whether which while who whole whom whose why will with
    within without won't would yes yet you you'd you'll you're you've your yours yourself
    """.split()  # noqa: SIM905 - hundreds of quotes would hide the words
)


def plan_of(reply: str) -> str:
    """Return the plan; nothing where the reply has no words at all."""
    prose = _LINK.sub(lambda link: link[1] or "", _FENCED.sub("\n", reply))
    facts = _facts(prose)
    if "```" in reply:
        facts = [*facts[: FACTS_MAX - 1], CODE]
    if not facts or (len(facts) == 1 and len(facts[0].split()) == 1):
        # one word says too little: what a short reply begins with says more
        begin = next((line for line in prose.splitlines() if _WORD.search(line)), "")
        facts = [_lead(begin)]
    return f"{BEGINNING} {'; '.join(facts)}." if any(facts) else ""


def _facts(prose: str) -> list[str]:
    lines = prose.splitlines()
    for pattern in (_HEADING, _ITEM, _NAMED):
        found = [match for line in lines if (match := pattern.match(line))]
        facts = _first(_lead(next(filter(None, match.groups()), "")) for match in found)
        if len(facts) >= ITEMS_MIN:
            return facts
    return _key_words(prose)


def _lead(item: str) -> str:
    """Return what an item begins with: up to its first break, and no word left hanging."""
    clean = _CLOSING.sub("", _MARKS.sub("", item).strip()).strip()
    end = _LEAD_END.search(clean, 2)
    told = (clean[: end.start()] if end else clean).split()
    words = told[:WORDS_MAX]
    while words and len(told) > WORDS_MAX and _plain(words[-1]).strip(",") in _HANGING:
        words.pop()
    return " ".join(words)[:CHARS_MAX].strip(" ,.;:!?\"'")


def _key_words(prose: str) -> list[str]:
    """Return the best runs of words of the first sentences, in the order of the text."""
    sentences = [_runs(one) for one in _SENTENCE_END.split(_MARKS.sub("", prose))]
    telling = [runs for runs in sentences if runs]
    scores = _scores(run for runs in telling for run in runs)
    each = max(1, -(-FACTS_MAX // len(telling)) if telling else 1)
    facts = []
    for runs in telling:
        ranked = sorted(range(len(runs)), key=lambda i: (-_score(runs[i], scores), i))
        facts += [" ".join(runs[i])[:CHARS_MAX] for i in sorted(ranked[:each])]
    return _first(facts)


def _runs(sentence: str) -> list[list[str]]:
    """Return the sentence's runs of words between stop words and punctuation."""
    runs: list[list[str]] = [[]]
    end = 0
    for match in _WORD.finditer(sentence):
        if sentence[end : match.start()].strip():
            runs.append([])
        end = match.end()
        if _plain(match[0]) in _STOPS or len(runs[-1]) == WORDS_MAX:
            runs.append([])
        if _plain(match[0]) not in _STOPS:
            runs[-1].append(match[0])
    return [run for run in runs if any(len(word) > 1 for word in run)]


def _plain(word: str) -> str:
    """Return the word as the stop words are written."""
    return word.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _scores(runs: Iterable[Sequence[str]]) -> dict[str, float]:
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for run in runs:
        for word in run:
            lengths[word.casefold()].append(len(run))
    return {word: sum(met) / len(met) for word, met in lengths.items()}


def _score(run: Sequence[str], scores: dict[str, float]) -> float:
    return sum(scores[word.casefold()] for word in run)


def _first(facts: Iterable[str]) -> list[str]:
    """Return the first facts, each once."""
    once = {fact.casefold(): fact for fact in reversed([fact for fact in facts if fact])}
    return list(islice(reversed(once.values()), FACTS_MAX))
