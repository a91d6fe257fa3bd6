"""The file of a baseline is read whole, by whom it was made for, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordsvc.core.baseline import PhaseBaseline
from coordsvc.core.dialogue import Phase
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import SoloProfile
from coordsvc.core.units import Micros
from coordsvc.telemetry.baselines import read, write
from tests.unit.telemetry.calibrations import HERE, calibration


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "here" / "baseline.json"


def test_what_was_written_is_read(path: Path) -> None:
    write(path, calibration())
    assert read(path, HERE) == calibration()
    assert [one.name for one in path.parent.iterdir()] == [path.name], "no draft is left"


def test_a_later_one_takes_the_place_of_the_one_before(path: Path) -> None:
    write(path, calibration())
    write(path, calibration(emulated=True))
    assert read(path, HERE).emulated


def test_a_service_gets_the_profile_and_the_ratios(path: Path) -> None:
    write(path, calibration(emulated=True))
    found = read(path, HERE).baseline()
    assert found.profile == SoloProfile(start_us=1.0, prefill_us=2.0, decode_us=3.0)
    assert found.phases[Phase.PLAN] == PhaseBaseline(measured_us=Micros(500_000), ratio=1.25)
    assert found.usual.ratio == 1.5
    assert found.emulated
    assert found.fingerprint == HERE


def test_a_ratio_of_one_dialogue_is_not_used(path: Path) -> None:
    """Without an interval nobody knows what it is worth."""
    assert set(calibration().baseline().phases) == {Phase.PLAN}


def test_another_machine_is_told_by_what_differs(path: Path) -> None:
    write(path, calibration())
    with pytest.raises(BadRequest, match=r"cores: 2 there, 64 here; gpu: nothing there, H100 here"):
        read(path, {"cpu": "abacus", "cores": "64", "gpu": "H100"})


def test_a_file_that_is_not_there_is_said_with_what_makes_one(path: Path) -> None:
    with pytest.raises(BadRequest, match=r"No such file.*coordsvc calibrate"):
        read(path, HERE)


def test_a_place_that_cannot_be_written_is_said(path: Path, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file, where a folder should be")
    with pytest.raises(BadRequest, match="cannot be written"):
        write(path, calibration())


def set_ratio(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda told: told["kept"]["phases"]["plan"].update(ratio=value)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (set_ratio(float("nan")), r"kept\.phases\.plan\.ratio: .*finite"),
        (set_ratio(float("inf")), r"kept\.phases\.plan\.ratio: .*finite"),
        (set_ratio(0), r"kept\.phases\.plan\.ratio: .*greater than 0"),
        (set_ratio("1.2"), r"kept\.phases\.plan\.ratio: .*number"),
        (lambda told: told["profile"].update(decode_us=-1.0), r"profile\.decode_us"),
        (lambda told: told["kept"]["phases"].update(muse={}), r"kept\.phases\.muse"),
        (lambda told: told["kept"].update(turns=0), r"kept\.turns"),
        (lambda told: told.update(format=2), "format"),
        (lambda told: told.pop("fingerprint"), "fingerprint: Field required"),
        (lambda told: told.update(fingerprint={}), "fingerprint"),
        (lambda told: told.update(surprise=1), "surprise"),
        (lambda told: told.clear(), "and [0-9]+ more faults"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(
    path: Path, damage: Callable[[dict[str, Any]], object], why: str
) -> None:
    write(path, calibration())
    told = json.loads(path.read_text())
    damage(told)
    path.write_text(json.dumps(told))
    with pytest.raises(BadRequest, match=why):
        read(path, HERE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"{" * 100_000])
def test_what_is_no_baseline_at_all_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(BadRequest, match="the file: "):
        read(path, HERE)
