"""Which baseline a service compares with."""

from pathlib import Path

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.engines.fingerprint import fingerprint
from coordsvc.engines.settings import EmulatedSettings
from coordsvc.settings import AppSettings, SettingsError, check
from coordsvc.settings.baseline import measured_baseline
from coordsvc.telemetry.baselines import write
from tests.unit.telemetry.calibrations import calibration

ENGINE = EmulatedSettings()


def test_none_is_named_by_default() -> None:
    assert AppSettings().baseline is None
    assert measured_baseline(None, ENGINE) is None


def test_the_one_that_is_named_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calibration(fingerprint=fingerprint(ENGINE))
    write(tmp_path / "baseline.json", made)
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (str(tmp_path / "baseline.json"), "~/baseline.json"):
        settings = check({"engine": {"kind": "emulated"}, "baseline": named})
        assert measured_baseline(settings.baseline, settings.engine) == made.baseline()


def test_one_of_another_engine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    write(path, calibration(fingerprint=fingerprint(ENGINE)))
    with pytest.raises(BadRequest, match=r"settings.speed: 1\.0 there, 2\.0 here"):
        measured_baseline(str(path), EmulatedSettings(speed=2.0))


def test_a_path_that_means_another_file_in_each_process_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"args\.baseline: 'here\.json' .* absolute path"):
        check({"baseline": "here.json"})
