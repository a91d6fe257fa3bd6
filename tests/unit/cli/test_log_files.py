"""The files of a decision log."""

from pathlib import Path

import pytest

from coordsvc.cli import log_files
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.decisions import Decision


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("decisions-00000010.jsonl", "decisions-00000009.jsonl", "other.txt"):
        (tmp_path / name).write_text("")
    found = [path.name for path in log_files.files(tmp_path)]
    assert found == ["decisions-00000009.jsonl", "decisions-00000010.jsonl"]
    assert log_files.files(tmp_path / "other.txt") == [tmp_path / "other.txt"]


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BadRequest, match="is no decision log"):
            log_files.files(place)


def test_a_line_cut_by_a_crash_is_left_out_and_said(decision_log: Path) -> None:
    (path,) = log_files.files(decision_log)
    whole = list(log_files.lines(path))
    assert not log_files.cut(path)
    path.write_bytes(path.read_bytes()[:-7])
    assert log_files.cut(path)
    assert list(log_files.lines(path)) == whole[:-1]
    path.write_bytes(path.read_bytes() + "ü".encode()[:1])
    assert list(log_files.lines(path)) == whole[:-1]


def test_bytes_that_are_no_text_are_refused_with_their_line(decision_log: Path) -> None:
    (path,) = log_files.files(decision_log)
    first, _, rest = path.read_bytes().split(b"\n", 2)
    path.write_bytes(first + b"\n\xff\xfe\n" + rest)
    with pytest.raises(BadRequest, match="line 2: is not UTF-8"):
        list(log_files.lines(path))


def test_a_header_says_when_its_file_begins(decision_log: Path) -> None:
    (path,) = log_files.files(decision_log)
    first = next(line.entry for line in log_files.lines(path) if isinstance(line.entry, Decision))
    assert log_files.began(log_files.header(path)) == 0 <= first.at
