"""One run's folder: what survives, and what it refuses."""

import json
import resource
from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.experiments.folder import RunFolder
from coordsvc.experiments.study import Row
from tests.unit.experiments.tiny import plan, tiny

MADE_WITH = {"coordsvc": "1.0", "date": "2026-01-02"}
FIRST: list[Row] = [{"seed": 1, "took_s": 0.1 + 0.2, "late": None, "load": "sch\u00f6n\u2028"}]
SECOND: list[Row] = [{"seed": 2, "took_s": 1e-300, "late": False, "load": ""}]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "deep" / "run")
    made.begin(tiny(), plan(), MADE_WITH)
    return made


def test_rows_are_kept_cell_by_cell_as_they_were_measured(folder: RunFolder) -> None:
    assert folder.measured() == {}
    folder.keep("a", FIRST)
    folder.keep("b", SECOND)
    folder.keep("c", [])
    assert RunFolder(folder.place).measured() == {"a": FIRST, "b": SECOND, "c": []}


@pytest.mark.parametrize("left", ["", '{"cell": "b', '{"cell": "b", "rows": []}', "\0\0\0"])
def test_a_last_line_cut_short_is_dropped_and_the_next_one_is_whole(
    folder: RunFolder, left: str
) -> None:
    folder.keep("a", FIRST)
    with (folder.place / "rows.jsonl").open("a") as file:
        file.write(left)
    assert folder.measured() == {"a": FIRST}
    folder.keep("b", SECOND)
    assert folder.measured() == {"a": FIRST, "b": SECOND}


def test_dropping_it_needs_no_room(folder: RunFolder) -> None:
    """Written anew, the others would be gone for a moment: a kill, or a full disk, loses them."""
    folder.keep("a", FIRST)
    with (folder.place / "rows.jsonl").open("a") as file:
        file.write('{"cell"')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert folder.measured() == {"a": FIRST}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folder.measured() == {"a": FIRST}


@pytest.mark.parametrize("line", ["oops", "[]", '{"cell": "b"}', '{"rows": []}', "\udcff"])
def test_a_line_that_is_no_cell_is_told_with_its_number(folder: RunFolder, line: str) -> None:
    folder.keep("a", FIRST)
    with (folder.place / "rows.jsonl").open("a", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    with pytest.raises(BadRequest, match=r"rows\.jsonl, line 2: is no measured cell"):
        folder.measured()


def test_a_folder_that_is_not_empty_is_refused_and_nothing_in_it_changes(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadRequest, match=r"is not empty; name another --out, or .* --resume"):
        RunFolder(tmp_path).begin(tiny(), plan(), MADE_WITH)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(tiny(), plan(), MADE_WITH)
    assert json.loads((tmp_path / "settings.json").read_text())["study"] == "tiny"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_can_be_no_folder_is_told_in_words(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="cannot be made"):
        RunFolder(tmp_path / place).begin(tiny(), plan(), MADE_WITH)


def test_going_on_is_noted_beside_what_it_was_begun_with(folder: RunFolder) -> None:
    folder.resume(tiny(), plan(), {"coordsvc": "1.1"})
    folder.resume(tiny(), plan(), {"coordsvc": "1.2"})
    assert json.loads((folder.place / "versions.json").read_text()) == {
        **MADE_WITH,
        "resumed": [{"coordsvc": "1.1"}, {"coordsvc": "1.2"}],
    }


@pytest.mark.parametrize(
    ("entry", "asked", "differs"),
    [
        (tiny(name="other"), {}, 'study was "tiny", and is "other"'),
        (tiny(), {"preset": "full"}, 'preset was "test", and is "full"'),
        (tiny(), {"seeds": (1, 2)}, r"seeds was \[1, 2, 3\], and is \[1, 2\]"),
        (tiny(gpus=(2,)), {}, r"gpus was null, and is \[2\]"),
        (tiny(engines=("emulated",)), {}, 'engine was null, and is "emulated"'),
        (
            tiny(parameters={"turns": 4, "loads": ["low"]}),
            {},
            r'parameter loads was \["low", "high"\], and is \["low"\]',
        ),
        (tiny(parameters={"turns": 4}), {}, "parameter loads was .*, and is null"),
        (
            tiny(parameters={"turns": 4, "loads": ["low", "high"], "new": 1}),
            {},
            "parameter new was null, and is 1",
        ),
    ],
    ids=["study", "preset", "seeds", "gpus", "engine", "parameter", "less", "more"],
)
def test_another_plan_is_refused_by_the_name_of_what_differs(
    folder: RunFolder, entry, asked: dict, differs: str
) -> None:
    before = (folder.place / "versions.json").read_text()
    with pytest.raises(BadRequest, match=f"holds another run: {differs}; go on with"):
        folder.resume(entry, plan(entry, **asked), {})
    assert (folder.place / "versions.json").read_text() == before


@pytest.mark.parametrize("name", ["settings.json", "versions.json"])
@pytest.mark.parametrize("text", [None, "", "[]", '"x"', '{"parameters": 1, "resumed": 1}'])
def test_a_folder_without_a_run_cannot_be_gone_on_with(
    folder: RunFolder, name: str, text: str | None
) -> None:
    (folder.place / name).unlink()
    if text is not None:
        (folder.place / name).write_text(text)
    with pytest.raises(BadRequest, match="holds no run to go on with"):
        folder.resume(tiny(), plan(), {})


def test_a_full_disk_is_told_in_words(folder: RunFolder) -> None:
    folder.keep("a", FIRST)
    rows, kept = folder.place / "rows.jsonl", folder.place / "kept"
    rows.rename(kept)
    rows.symlink_to("/dev/full")
    with pytest.raises(CoordinationError, match=r"No space left on device.*before is there.*room"):
        folder.keep("b", SECOND)
    kept.rename(rows)
    assert folder.measured() == {"a": FIRST}


def test_a_document_is_whole_or_the_one_before(folder: RunFolder) -> None:
    """It is written beside its place; somebody may read meanwhile, or the disk be full."""
    folder.write("note", "first")
    before = (folder.place / "note").stat().st_ino
    folder.write("note", "second")
    assert (folder.place / "note").stat().st_ino != before
    (folder.place / ".note.draft").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        folder.write("note", "third")
    assert (folder.place / "note").read_text() == "second"


def test_what_a_killed_try_left_beside_its_rows_is_gone_in_the_next(folder: RunFolder) -> None:
    """A log that two tries wrote is nobody's."""
    for number in (1, 2):
        folder.beside(number).mkdir(parents=True)
        (folder.place / f"cells/00{number}/log").write_text("half")
    assert folder.beside(2) == folder.place / "cells/002"
    assert [path.name for path in (folder.place / "cells").iterdir()] == ["001"]


def test_the_table_has_all_rows_and_a_reader_is_told_its_columns(folder: RunFolder) -> None:
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="the experiments extra is not installed"
    )
    columns = {"seed": "of all chance", "took_s": "seconds", "late": "or not", "load": "which"}
    folder.write_rows([*FIRST, *SECOND], columns)
    table = parquet.read_table(folder.place / "rows.parquet")
    assert table.column_names == list(columns)
    assert table.to_pylist() == [*FIRST, *SECOND]
    assert "- `took_s`: seconds\n" in (folder.place / "README.md").read_text()


def test_without_rows_there_is_no_table(folder: RunFolder) -> None:
    pytest.importorskip("pyarrow", reason="the experiments extra is not installed")
    folder.write_rows([], {})
    assert not (folder.place / "rows.parquet").exists()
