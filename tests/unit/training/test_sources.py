"""Where messages come from, and what is said of a source that cannot be read."""

import gzip
from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.training.sources import find
from tests.unit.training.dialogues import tree, write


class Hub:
    """Has one dataset, and notes what it was asked for."""

    def __init__(self, records: list[dict]) -> None:
        self.records = records
        self.asked: list[tuple[str, str, str | None]] = []

    def __call__(self, dataset: str, split: str, revision: str | None) -> list[dict]:
        self.asked.append((dataset, split, revision))
        return self.records if split == "train" else []


def no_network(dataset: str, split: str, revision: str | None) -> list[dict]:
    raise ConnectionError("name or service not known")


def test_a_file_is_read_plain_and_packed(tmp_path: Path) -> None:
    plain = write(tmp_path / "some.jsonl", tree())
    packed = tmp_path / "some.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(find(str(plain), None, skip_bad=False).records) == tree()
    assert list(find(str(packed), None, skip_bad=False).records) == tree()


def test_a_source_is_told_again_from_its_bytes(tmp_path: Path) -> None:
    one = find(str(write(tmp_path / "a.jsonl", tree())), None, skip_bad=False)
    same = find(str(write(tmp_path / "b.jsonl", tree())), None, skip_bad=False)
    other = find(str(write(tmp_path / "c.jsonl", tree("u"))), None, skip_bad=False)
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "[" * 100_000])
def test_a_line_that_is_no_message_is_named_or_skipped_and_counted(
    tmp_path: Path, line: str
) -> None:
    path = write(tmp_path / "some.jsonl", tree()[:2])
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(BadRequest, match=r"some\.jsonl, line 4: is no JSON object.*--skip-bad"):
        list(find(str(path), None, skip_bad=False).records)
    source = find(str(path), None, skip_bad=True)
    assert list(source.records) == tree()[:2]
    assert source.bad_lines == [4]


def test_a_packed_file_that_is_cut_short_or_damaged_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gz"
    whole = gzip.compress(write(tmp_path / "some.jsonl", tree() * 50).read_bytes())
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(255 - one for one in whole[middle:])
    for content in (whole[:middle], damaged, b"no gzip at all"):
        path.write_bytes(content)
        with pytest.raises(BadRequest, match=r"some\.jsonl\.gz: cannot be read beyond line"):
            list(find(str(path), None, skip_bad=True).records)


def test_what_is_neither_a_file_nor_a_dataset_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"nowhere\.jsonl: cannot be read: No such file"):
        find("nowhere.jsonl", None, skip_bad=False)
    with pytest.raises(BadRequest, match="a dataset of the hub is owner/name"):
        find("oasst1", None, skip_bad=False)


def test_a_dataset_of_the_hub_is_streamed_at_its_revision() -> None:
    hub = Hub(tree())
    source = find("some/dialogues", "f1e6ed9", skip_bad=False, hub=hub)
    assert hub.asked == []
    assert list(source.records) == tree()
    assert hub.asked == [
        ("some/dialogues", "train", "f1e6ed9"),
        ("some/dialogues", "validation", "f1e6ed9"),
    ]
    assert source.name == "some/dialogues@f1e6ed9"
    assert source.fingerprint != find("some/dialogues", None, skip_bad=False, hub=hub).fingerprint


def test_a_hub_out_of_reach_is_one_clear_error() -> None:
    source = find("some/dialogues", None, skip_bad=False, hub=no_network)
    with pytest.raises(BadRequest, match=r"some/dialogues: cannot be read from the hub: name or"):
        list(source.records)
