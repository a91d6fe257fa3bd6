"""Samples in a folder: written once, whole or not at all, and read again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER
from coordsvc.core.errors import BadRequest
from coordsvc.training.prepared import SPLITS, Options, Prepared, cache, load, prepare
from coordsvc.training.sources import Source, find
from tests.unit.training.dialogues import forest, said, tree, write

pytest.importorskip("datasets", reason="the train extra is not installed")

AGENTS = (PLANNER, RESPONDER, CHECKER)
USUAL = Options()
ROWS = [*forest(12), said("lost.a", "lost", "Hello?")]


def source(rows: list[dict], fingerprint: str = "s") -> Source:
    return Source("told", fingerprint, rows)


def made(rows: list[dict], folder: Path, options: Options = USUAL) -> Prepared:
    prepared, new = prepare(source(rows), options, folder, lambda _: None)
    assert new
    return prepared


def tables(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_what_is_read_back_is_what_was_made(tmp_path: Path) -> None:
    first = made(ROWS, tmp_path / "out", Options(held_out=0.25))
    again = load(tmp_path / "out")
    assert again.fingerprint == first.fingerprint
    counts = again.manifest["samples"]
    for split in SPLITS:
        for agent in AGENTS:
            samples = again.samples(agent, split)
            assert samples == first.samples(agent, split)
            assert len(samples) == counts[split][agent] > 0
            assert {one.agent for one in samples} == {agent}
    assert again.manifest["trees"] == {"train": 9, "held_out": 3}
    assert again.manifest["dropped_messages"] == {"orphan": 1}
    assert again.samples(PLANNER, "train")[0].messages[-1].speaker == "user"


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.permutations(ROWS), seed=st.integers(0, 99))
def test_shuffled_messages_make_the_same_bytes_and_no_tree_is_in_both_splits(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict], seed: int
) -> None:
    top = tmp_path_factory.mktemp("shuffled")
    options = Options(seed=seed, held_out=0.3)
    one, other = made(ROWS, top / "a", options), made(rows, top / "b", options)
    assert tables(top / "a") == tables(top / "b")
    assert one.fingerprint == other.fingerprint
    trees = [
        {sample.tree for agent in AGENTS for sample in one.samples(agent, split)}
        for split in SPLITS
    ]
    assert trees[0] & trees[1] == set()
    assert len(trees[0] | trees[1]) == 12


def test_the_same_input_is_not_prepared_twice(tmp_path: Path) -> None:
    made(ROWS, tmp_path / "out")
    before = tables(tmp_path / "out")
    told: list[str] = []
    again, new = prepare(source([]), Options(), tmp_path / "out", told.append)
    assert not new
    assert "is there already" in told[0]
    assert tables(tmp_path / "out") == before
    assert again.samples(PLANNER, "train")


@pytest.mark.parametrize(
    "options", [Options(seed=7), Options(turns=1), Options(held_out=0.5)], ids=str
)
def test_other_options_do_not_take_what_is_there(tmp_path: Path, options: Options) -> None:
    made(ROWS, tmp_path / "out")
    with pytest.raises(BadRequest, match="other messages or options; name another --out"):
        made(ROWS, tmp_path / "out", options)


def test_without_a_folder_samples_are_kept_in_the_cache_by_source_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORDSVC_CACHE_DIR", str(tmp_path))
    folders = set()
    for which, options in (("s", Options()), ("s", Options(seed=7)), ("other", Options())):
        one, new = prepare(source(ROWS, which), options, None, lambda _: None)
        assert new
        folders.add(one.folder)
    assert {folder.parent for folder in folders} == {cache()} == {tmp_path / "prepared"}
    assert len(folders) == 3


def test_a_preparation_that_cannot_take_its_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.symlink_to("nowhere")
    with pytest.raises(BadRequest, match="out: cannot be written"):
        made(ROWS, place)
    assert list(tmp_path.iterdir()) == [place]
    place.unlink()
    assert made(ROWS, place).samples(PLANNER, "train")


def test_what_a_killed_preparation_left_is_taken_for_nothing(tmp_path: Path) -> None:
    whole = made(ROWS, tmp_path / "whole")
    beside = tmp_path / ".out-k1ll3d"
    shutil.copytree(whole.folder, beside)
    (beside / "manifest.json").unlink()
    assert made(ROWS, tmp_path / "out").fingerprint == whole.fingerprint
    with pytest.raises(BadRequest, match="holds no samples"):
        load(beside)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadRequest, match="is not empty, and holds no samples of ours"):
        made(ROWS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_without_whole_samples_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"holds no samples .*coordsvc train prepare"):
        load(tmp_path)
    made(ROWS, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:40])
    with pytest.raises(BadRequest, match="is no JSON"):
        load(tmp_path / "out")
    manifest.write_text(json.dumps(json.loads(whole) | {"format": 99}))
    with pytest.raises(BadRequest, match="another version"):
        load(tmp_path / "out")


def test_a_table_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    prepared = made(ROWS, tmp_path / "out")
    (table,) = (tmp_path / "out" / "train").glob("*.arrow")
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    with pytest.raises(BadRequest, match=r"train: cannot be read .*prepare the samples again"):
        prepared.samples(PLANNER, "train")


def test_an_agent_without_samples_is_an_error(tmp_path: Path) -> None:
    prepared = made(ROWS, tmp_path / "out", Options(held_out=0.0))
    with pytest.raises(BadRequest, match="no held_out samples for planner"):
        prepared.samples(PLANNER, "held_out")


def test_messages_that_make_no_sample_say_what_was_dropped(tmp_path: Path) -> None:
    german = [one | {"lang": "de"} for one in tree()]
    with pytest.raises(BadRequest, match=r"makes no sample; dropped were .*other_language.*: 5"):
        made(german, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lines_that_were_skipped_are_counted_with_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "some.jsonl", ROWS)
    path.write_text(f"{path.read_text()}nothing\n")
    found = find(str(path), None, skip_bad=True)
    prepared, _ = prepare(found, replace(Options(), seed=1), tmp_path / "out", lambda _: None)
    assert prepared.manifest["dropped_messages"] == {"orphan": 1, "not_json": 1}
