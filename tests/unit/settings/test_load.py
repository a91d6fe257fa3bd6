"""Settings are read and checked as a whole; each fault is told by path, value and remedy."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.settings import AppSettings, SettingsError, check, read_deployment

DEPLOYMENTS = sorted((Path(__file__).parents[3] / "deployments").glob("*.yaml"))


def faults(args: dict[Any, Any]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        check(args)
    return str(raised.value).splitlines()


def agent(**fields: Any) -> dict[str, Any]:
    return {"agents": {"planner": fields}}


def demand(**amounts: Any) -> dict[str, Any]:
    return agent(demand=amounts)


def engine(kind: str = "openvino", **fields: Any) -> dict[str, Any]:
    return {"engine": {"kind": kind, **fields}}


# Files


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: path.stem)
def test_every_deployment_of_ours_is_right(path: Path) -> None:
    config = read_deployment(path)
    assert config == yaml.safe_load(path.read_text())
    for application in config["applications"]:
        assert application["import_path"].startswith("coordsvc.")
        assert isinstance(check(application["args"]), AppSettings)


def test_there_are_deployments() -> None:
    assert {path.stem for path in DEPLOYMENTS} >= {"local", "two_agents", "gpu"}


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "it.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as raised:
        read_deployment(path)
    said = str(raised.value)
    assert said.startswith((str(path), "applications["))
    return said


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "none.yaml")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "applications: [",
        "applications: {[1]: 2}",
        "a: b: c",
        "\t- x",
        b"applications: \xff\xfe",
        "applications: &a !!python/object:os.system {}",
        "day: 2026-13-45",
        f"big: {'9' * 5_000}",
        "[" * 1_000 + "]" * 1_000,
        "applications: *nobody",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_is_not_yaml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert "is not YAML" in refusal(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[]", "applications:", "applications: {}", "3", "a: b"])
def test_what_is_no_serve_config_is_refused(tmp_path: Path, text: str) -> None:
    assert "has no `applications`" in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("applications: [x]", "applications[0] is not a mapping"),
        (
            "applications:\n- {import_path: 'coordsvc.serving.app:build', args: [1]}",
            "applications[0].args is not a mapping",
        ),
        (
            (
                "applications:\n- {import_path: other}\n"
                "- {import_path: 'coordsvc.serving.app:build', args: {offers: {lasts_s: soon}}}"
            ),
            "applications[1].args.offers.lasts_s: 'soon' is not right",
        ),
    ],
)
def test_what_is_wrong_inside_is_named_with_its_place(
    tmp_path: Path, text: str, where: str
) -> None:
    assert where in refusal(written(tmp_path, text))


def test_other_people_s_applications_are_none_of_our_business(tmp_path: Path) -> None:
    text = "applications:\n- {import_path: 'theirs:app', args: {offers: 3}}\n- {args: {x: 1}}"
    assert len(read_deployment(written(tmp_path, text))["applications"]) == 2


@pytest.mark.parametrize("args", ["", "args:", "args: {}"])
def test_no_settings_are_the_defaults(tmp_path: Path, args: str) -> None:
    read_deployment(
        written(tmp_path, f"applications:\n- import_path: coordsvc.serving.app:build\n  {args}")
    )
    assert check({}) == AppSettings()


# Faults: the path, the value, what would be right


@pytest.mark.parametrize(
    ("args", "told"),
    [
        # a name that does not exist
        ({"offres": {}}, "args.offres: there is no such setting; did you mean `offers`?"),
        (
            {"offers": {"ahead_mni": 3}},
            "args.offers.ahead_mni: there is no such setting; did you mean `ahead_min`?",
        ),
        (
            {"agents": {"critic": {}}},
            "args.agents.critic: there is no such setting; known here: checker, planner, responder",
        ),
        (
            engine(batchmax=3),
            "args.engine.batchmax: there is no such setting; did you mean `batch_max`?",
        ),
        (
            engine("scripted", rules=[{"reply": "x"}, {"reply": "x", "delay_sm": 1}]),
            "args.engine.rules[1].delay_sm: there is no such setting; did you mean `delay_ms`?",
        ),
        ({1: 2}, "args[1]: 1 is not right: Keys should be strings"),
        ({"a\nb": 2}, "args['a\\nb']: there is no such setting"),
        # a value of the wrong kind
        ({"metrics": {"port": "9464"}}, "args.metrics.port: '9464' is not right: "),
        ({"offers": {"lasts_s": "10"}}, "args.offers.lasts_s: '10' is not right: "),
        ({"dialogue": {"revisions_max": 1.5}}, "args.dialogue.revisions_max: 1.5 is not right: "),
        ({"served_model": 3}, "args.served_model: 3 is not right: Input should be a valid string"),
        ({"offers": []}, "args.offers: [] is not right: a mapping is right"),
        ({"engine": "openvino"}, "args.engine: 'openvino' is not right: a mapping is right"),
        (agent(requires=["gpu"]), "args.agents.planner.requires: ['gpu'] is not right: a mapping"),
        (agent(requires={"gpu": 1}), "args.agents.planner.requires.gpu: 1 is not right: "),
        (engine("scripted", rules={}), "args.engine.rules: {} is not right: a list is right"),
        (engine("scripted", rules=[3]), "args.engine.rules[0]: 3 is not right: a mapping is right"),
        # a truth is no number, and a word no truth
        (agent(weight=True), "args.agents.planner.weight: True is not right: "),
        (demand(cpu=True), "args.agents.planner.demand.cpu: True is not right: "),
        ({"offers": {"ahead_min": False}}, "args.offers.ahead_min: False is not right: "),
        ({"http": {"deadline_s": True}}, "args.http.deadline_s: True is not right: "),
        (engine("emulated", speed=True), "args.engine.speed: True is not right: "),
        ({"http": {"account": "yes"}}, "args.http.account: 'yes' is not right: "),
        ({"http": {"account": 1}}, "args.http.account: 1 is not right: "),
        # no number at all, or one out of bounds
        (demand(cpu=math.nan), "args.agents.planner.demand.cpu: nan is not right: "),
        ({"offers": {"lasts_s": math.nan}}, "args.offers.lasts_s: nan is not right: "),
        ({"http": {"body_s": math.inf}}, "args.http.body_s: inf is not right: "),
        ({"http": {"deadline_s_max": 1e300}}, "args.http.deadline_s_max: 1e+300 is not right: "),
        (engine("emulated", speed=math.inf), "args.engine.speed: inf is not right: "),
        (demand(cpu=-1), "args.agents.planner.demand.cpu: -1 is not right: "),
        (demand(cpu=0.0001), "args.agents.planner.demand.cpu: 0.0001 is not right: "),
        ({"metrics": {"port": 99_999}}, "args.metrics.port: 99999 is not right: "),
        ({"http": {"mode": "now"}}, "args.http.mode: 'now' is not right: Input should be"),
        # what is needed is not there
        (engine(profile={"prefill_us": 1}), "args.engine.profile.decode_us: is missing"),
        (engine("scripted", default={}), "args.engine.default.reply: is missing"),
        (
            {"engine": {"batch_max": 3}},
            (
                "args.engine.kind: is missing; "
                "one of openvino, transformers, vllm, emulated, scripted is right"
            ),
        ),
        (
            engine("openvno"),
            "args.engine.kind: 'openvno' is not right; one of openvino, transformers, ",
        ),
        # things that contradict each other
        ({"offers": {"ahead_min": 200}}, "args.offers: ahead_min (200) is above ahead_max (128)"),
        (
            {"offers": {"linger_low_ms": 900}},
            "args.offers: linger_low_ms (900) is above linger_ms (400)",
        ),
        (
            {"http": {"deadline_s": 700}},
            "args.http: deadline_s (700.0) is above deadline_s_max (600.0)",
        ),
        (
            {"node": {"capacity": {"cpu": 0.5, "bandwidth_gbps": 1}}},
            (
                "args: agents.planner.demand (cpu=1000 bandwidth=1000) is more than one node's "
                "node.capacity (cpu=500 bandwidth=1000)"
            ),
        ),
        (demand(gpu=1), "args: agents.planner.demand (gpu=1000) is more than one node's "),
        (demand(), "args: agents.planner.demand is nothing; an agent needs some of a resource"),
    ],
    ids=lambda case: str(case)[:60] if isinstance(case, dict) else "",
)
def test_each_fault_is_told_by_path_value_and_remedy(args: dict[Any, Any], told: str) -> None:
    (fault,) = faults(args)
    assert fault.startswith(told), fault


def test_all_faults_are_told_at_once() -> None:
    wrong = {
        "offers": {"lasts_s": 0, "ahead_mni": 1},
        "agents": {"responder": {"weight": 0}},
        "metrics": {"port": -1},
    }
    assert [fault.partition(":")[0] for fault in faults(wrong)] == [
        "args.agents.responder.weight",
        "args.offers.lasts_s",
        "args.offers.ahead_mni",
        "args.metrics.port",
    ]


def test_a_kind_s_name_is_kept_where_it_stands_in_the_file() -> None:
    """Pydantic puts the chosen kind into the path; a setting so named is another thing."""
    (fault,) = faults(engine("scripted", scripted=1))
    assert fault.startswith("args.engine.scripted: there is no such setting")


def test_a_long_value_is_cut_and_one_that_cannot_be_shown_is_described() -> None:
    (fault,) = faults({"served_model": "x" * 10_000})
    assert len(fault) < 200
    (fault,) = faults(agent(weight=10**5_000))
    assert fault.startswith("args.agents.planner.weight: this int is not right: ")
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    (fault,) = faults({"served_model": deep})
    assert fault.startswith("args.served_model: this list is not right: ")


def test_another_place_may_be_named() -> None:
    with pytest.raises(SettingsError, match=r"^applications\[0\]\.args\.offres: "):
        check({"offres": {}}, "applications[0].args")


# Whatever is done to a right tree


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["openvino", "scripted", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)


def whole_tree(kind: str) -> dict[str, Any]:
    """Return settings in which every field is said."""
    rules = {"rules": [{"reply": "Yes."}, {"reply": "No."}]} if kind == "scripted" else {}
    tree: dict[str, Any] = yaml.safe_load(check(engine(kind, **rules)).model_dump_json())
    return tree


TREES = [whole_tree(kind) for kind in ("openvino", "transformers", "vllm", "emulated", "scripted")]


def places(node: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a tree."""
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    found: list[tuple[Any, ...]] = []
    for step, value in inside:
        found.append((*way, step))
        if isinstance(value, dict | list):
            found += places(value, (*way, step))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a right tree with up to four things replaced, removed, added or misspelt."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 4))):
        if not (known := places(tree)):
            break
        *way, last = draw(st.sampled_from(known))
        at: Any = tree
        for step in way:
            at = at[step]
        match draw(st.sampled_from(["replace", "remove", "add", "misspell"])):
            case "replace":
                at[last] = draw(junk)
            case "remove":
                del at[last]
            case "add" if isinstance(at, dict):
                at[draw(st.text(max_size=5) | st.integers() | st.none())] = draw(junk)
            case "misspell" if isinstance(at, dict):
                at[f"{last}_"] = at.pop(last)
    return tree


@settings(max_examples=200)
@given(mutated())
def test_whatever_is_done_to_a_right_tree_it_is_right_or_refused(tree: dict[str, Any]) -> None:
    try:
        right = check(tree)
    except SettingsError as error:
        told = str(error).splitlines()
    else:
        told = []
    assert all(line.startswith("args") for line in told), told
    if told:
        return
    assert right.rules().agents
    assert right.terms().offer_lasts_us > 0
    assert right.offers.desk_terms().ahead_min >= 0
    for each in right.agents.by_id().values():
        assert right.node.capacity.resources().covers(each.demand.resources())


def test_a_tree_that_nothing_was_done_to_is_right() -> None:
    for tree in TREES:
        assert check(tree).model_dump(mode="json") == tree
