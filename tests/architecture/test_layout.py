"""How the project's files are laid out and named."""

import re
from pathlib import Path

LINES_MAX = {"coordsvc": 400, "tools": 400, "tests": 600}
SAY_NOTHING = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"})
"""Names that hold anything, and so tell nothing."""

MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|Users|home/(?!ray\b)\w+)/")
"""Where things lie on somebody's machine; /home/ray is inside Ray's images."""

TESTED_ELSEWHERE = {
    "cli/chat": "tests/e2e talks to it",
    "cli/commands": "tests/e2e runs the commands",
    "cli/explain": "tests/e2e runs it",
    "cli/pool": "tests/e2e runs it",
    "cli/status": "tests/e2e runs it",
    "cli/up": "tests/e2e runs it",
    "bench": "tests/studies and tests/integration run each benchmark, shortened",
    "core/messages": "plain values",
    "experiments/live": "needs Ray: tests/studies/test_live.py, tests/e2e/test_studies.py",
    "experiments/studies": "tests/studies and tests/integration run each, in small",
    "clock": "the machine's clock, and nothing else",
    "engines/stream": "what the engines with a model share; their tests go through it",
    "engines/openvino_runtime": "needs the library and a model: tests/integration",
    "engines/transformers_runtime": "needs the library and a model: tests/integration",
    "ports": "nothing but protocols",
    "serving/actors": "needs Ray: tests/integration starts it",
    "serving/training_app": "needs Ray: tests/integration/test_training_pool.py",
    "serving/training_calls": "needs Ray: tests/integration/test_training_pool.py",
    "serving/agent_calls": "needs Serve: tests/integration",
    "serving/app": "needs Serve: tests/integration",
    "serving/autoscaling": "needs Serve: tests/integration",
    "serving/deployed": "needs Serve: tests/integration",
    "serving/desk_line": "what desks are told: test_allocator_actor.py hears it",
    "serving/engine_calls": "needs Serve: tests/integration",
    "serving/kept": "needs Ray: tests/integration/test_lives.py",
    "serving/engine_link": "needs Serve: tests/integration",
    "serving/instruments_line": "needs Ray: tests/integration",
    "serving/local": "needs Ray: tests/integration",
    "serving/operator": "needs Ray: tests/e2e goes through it",
    "serving/ray_pool": "needs Ray: tests/integration",
    "serving/router": "needs Serve: tests/integration",
    "serving/wire": "needs Serve: tests/integration",
    "serving/http/errors": "what the door says: test_chat.py and test_hostile.py see all of it",
    "serving/http/feed": "one turn's pieces: test_stream.py",
    "serving/http/middleware": "around the whole door: test_app.py",
    "serving/http/replies": "what the door says: test_chat.py and test_stream.py",
    "serving/http/request": "what a turn was asked: test_chat.py",
    "settings/bundle": "amounts: test_tree.py",
    "training/learner": "needs the libraries: tests/integration/test_training.py",
    "training/libraries": "imports them: tests/integration/test_training.py",
    "training/origin": "needs the libraries and a model: tests/integration/test_training.py",
    "cli/train/commands": "joins them: tests/integration/test_training.py runs them",
    "cli/train/evaluate": "needs the libraries: tests/integration/test_training.py",
    "cli/train/finetune": "needs the libraries: tests/integration/test_training.py",
    "cli/train/options": "what two commands share: tests/integration/test_training.py runs them",
    "cli/train/prompts": "needs Ray: tests/integration/test_training_together.py",
    "cli/train/together": "needs Ray: tests/integration/test_training_together.py",
    "training/travelling": "needs the libraries: tests/integration/test_training_together.py",
    "cli/train/quantise": "needs the libraries: tests/integration/test_training.py",
    "serving/http/wire": "slow readers and hang-ups: test_stream.py",
}
"""Sources (or folders of them) that need no unit test of the same name, and why."""

TESTS_OF_A_WHOLE = {
    "core/test_desk_news.py": "when a desk speaks: the rest of test_desk.py",
    "serving/http/test_hostile.py": "bad input against the whole door",
    "serving/http/test_openai_client.py": "the official client against the whole door",
}
"""Unit tests that belong to a package, not to one of its modules, and of what."""


def _below(top: Path, pattern: str) -> list[Path]:
    return [path.relative_to(top) for path in sorted(top.rglob(pattern))]


def _is_test_of(test: Path, source: Path) -> bool:
    """Whether `test` is named for `source`: test_ledger.py, or test_ledger_sums.py beside it."""
    name = f"test_{source.stem.strip('_')}"
    return test.parent == source.parent and f"{test.stem}_".startswith(f"{name}_")


def test_every_unit_test_mirrors_a_source(root: Path) -> None:
    sources = _below(root / "coordsvc", "*.py")
    strays = [
        str(test)
        for test in _below(root / "tests/unit", "test_*.py")
        if not any(_is_test_of(test, source) for source in sources)
        and test.as_posix() not in TESTS_OF_A_WHOLE
    ]
    assert strays == [], "unit tests without a source of the same name in the same place"


def test_every_source_is_mirrored_by_a_unit_test(root: Path) -> None:
    tests = _below(root / "tests/unit", "test_*.py")
    untested = [
        str(source)
        for source in _below(root / "coordsvc", "*.py")
        if source.name != "__init__.py"
        and not any(_is_test_of(test, source) for test in tests)
        and not _excused(source)
        and _does_something(root / "coordsvc" / source)
    ]
    assert untested == []


def _excused(source: Path) -> bool:
    name = source.with_suffix("").as_posix()
    return any(name == excused or name.startswith(f"{excused}/") for excused in TESTED_ELSEWHERE)


def _does_something(source: Path) -> bool:
    """Whether there is anything to test: a file of plain values and types has no `return`."""
    return re.search(r"^\s+(return|yield|raise)\b", source.read_text(), re.MULTILINE) is not None


def test_every_excuse_is_needed(root: Path) -> None:
    tested = [
        name
        for name in TESTED_ELSEWHERE
        if (root / "tests/unit" / name).with_name(f"test_{Path(name).name}.py").exists()
    ]
    assert tested == []
    sources = root / "coordsvc"
    gone = [
        name
        for name in TESTED_ELSEWHERE
        if not (sources / name).is_dir() and not (sources / f"{name}.py").exists()
    ]
    assert gone == []
    assert [name for name in TESTS_OF_A_WHOLE if not (root / "tests/unit" / name).exists()] == []


def test_no_module_is_too_long(root: Path) -> None:
    long = {
        str(path.relative_to(root)): length
        for top, lines_max in LINES_MAX.items()
        for path in sorted((root / top).rglob("*.py"))
        if (length := len(path.read_text().splitlines())) > lines_max
    }
    assert long == {}


def test_no_module_has_a_name_that_says_nothing(root: Path) -> None:
    empty = [
        str(path.relative_to(root))
        for top in LINES_MAX
        for path in (root / top).rglob("*")
        if (path.is_dir() or path.suffix == ".py")
        and SAY_NOTHING & set(path.stem.lower().removeprefix("test_").split("_"))
    ]
    assert empty == []


def test_no_file_names_a_place_on_somebodys_machine(root: Path, files: list[Path]) -> None:
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()[:80]}"
        for path in files
        for number, line in enumerate(_lines(path), start=1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []  # a picture


def test_the_pattern_for_machine_paths_sees_them() -> None:
    home = "/" + "home"
    assert MACHINE_PATHS.search(f"cd {home}/someone/coordsvc")
    assert MACHINE_PATHS.search("log=/" + "root/x.log")
    assert not MACHINE_PATHS.search(f"WORKDIR {home}/ray/app")
    assert not MACHINE_PATHS.search("docs" + "/work" + "/plan.md")
