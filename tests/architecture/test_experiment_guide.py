"""That the guide's study works: its code and its TOML are run as they stand there."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.experiments import entries, statistics

GUIDE = "docs/guides/experiments.md"
BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COVERED = re.compile(r"^\| runs \|(.*)\|\n.*\n\| of 100 times \|(.*)\|$", re.MULTILINE)
IN_PACKAGE = "coordsvc.experiments.studies.oldest_turn"


@pytest.fixture
def guide(root: Path) -> str:
    return (root / GUIDE).read_text()


@pytest.fixture
def catalogue(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide's study, as if its two files were where it puts them."""
    code, toml = (text for _, text in BLOCK.findall(guide))
    module = types.ModuleType(IN_PACKAGE)
    monkeypatch.setitem(sys.modules, IN_PACKAGE, module)
    exec(compile(code, GUIDE, "exec"), vars(module))
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue/oldest-turn.toml").write_text(toml)
    monkeypatch.setattr(entries, "FOLDER", str(tmp_path / "catalogue"))
    return tmp_path


def test_the_guides_study_runs_and_draws_its_conclusion(catalogue: Path) -> None:
    pytest.importorskip("pyarrow", reason="the experiments extra is not installed")
    from coordsvc.experiments.runner import run  # noqa: PLC0415 - an extra

    found = entries.entry("oldest-turn")
    assert found.make().name == found.name
    told = run(found, entries.plan(found, "test"), catalogue / "run", lambda _: None)
    assert told["verdict"] in {"confirmed", "falsified", "undecided"}
    (finding,) = told["findings"]
    assert finding["low"] <= finding["value"] <= finding["high"]
    assert (catalogue / "run/plots/p95.svg").exists()
    assert "see the study's page" not in (catalogue / "run/README.md").read_text()


def test_it_keeps_the_guides_rules(catalogue: Path) -> None:
    found = entries.entry("oldest-turn")
    study, plan = found.make(), entries.plan(found, "test")
    first, *rest = study.cells(plan)
    rows = study.run(first, lambda _: None)
    assert rows == study.run(first, lambda _: None), "it keeps nothing"
    assert rows[0].keys() == found.columns.keys()
    assert study.conclude(plan, rows).verdict == "undecided", "half of a pair"
    hopeless = entries.plan(found, "full")
    with pytest.raises(BadRequest, match="between 0 and 1"):
        study.check(type(plan)(**{**_fields(hopeless), "parameters": {"load": 1.5}}))
    assert len(rest) == 5


def _fields(plan: object) -> dict:
    return {name: getattr(plan, name) for name in ("preset", "seeds", "gpus", "engine")}


def test_the_guide_tells_how_often_intervals_hold_the_truth(guide: str) -> None:
    told = COVERED.search(guide)
    assert told is not None
    runs, held = ([int(cell) for cell in row.split("|")] for row in told.groups())
    for count, of_100 in zip(runs, held, strict=True):
        samples = np.random.default_rng(3).normal(0.0, 1.0, size=(500, count))
        found = [statistics.mean(list(sample)) for sample in samples]
        share = np.mean([one.low <= 0.0 <= one.high for one in found])
        assert share * 100 == pytest.approx(of_100, abs=5)  # 500 tries are off by 2 or so
