"""C_baseline on the real small model: what was read anew, what was kept, and what is stored."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from coordsvc.core.errors import BadRequest
from coordsvc.settings import check
from coordsvc.settings.baseline import measured_baseline

pytest.importorskip("openvino_genai")
pytestmark = [pytest.mark.model, pytest.mark.timeout(180)]

ENGINE = {"kind": "openvino", "calibration_repeats": 1}
ARGS = {"engine": ENGINE, "http": {"max_tokens_default": 24}, "dialogue": {"revisions_max": 0}}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that the command left, its exit and output looked at."""
    folder = tmp_path_factory.mktemp("calibrate")
    deployment, place = folder / "small.yaml", folder / "baseline.json"
    application = {"import_path": "coordsvc.serving.app:build", "args": ARGS}
    deployment.write_text(yaml.safe_dump({"applications": [application]}))
    words = ["--dialogues", "2", "--repeats", "1", "--turns", "2", "--json", "--out", str(place)]
    ran = subprocess.run(
        [sys.executable, "-m", "coordsvc.cli", "calibrate", str(deployment), *words],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads(place.read_text())
    return place


def test_real_turns_are_measured_in_both_ways(stored: Path) -> None:
    told = json.loads(stored.read_text())
    assert told["emulated"] is False
    for way in ("kept", "cold"):
        assert told[way]["turns"] == 4
        phases = told[way]["phases"]
        assert set(phases) == {"plan", "respond", "check"}
        for figures in phases.values():
            assert figures["measured_s"] > 0
            assert figures["ratio_low"] < figures["ratio"] < figures["ratio_high"]
            assert figures["output_tokens"] >= 1
    assert all(figures["cached_tokens"] == 0 for figures in told["cold"]["phases"].values())
    assert told["kept"]["phases"]["respond"]["cached_tokens"] > 0
    assert told["kept"]["phases"]["check"]["cached_tokens"] > 0


def test_it_is_a_baseline_for_this_engine_and_for_no_other(stored: Path) -> None:
    settings = check({**ARGS, "baseline": str(stored)})
    found = measured_baseline(settings.baseline, settings.engine)
    assert found is not None
    assert not found.emulated
    assert found.profile.decode_us > 0
    assert all(phase.ratio is not None for phase in found.phases.values())
    other = check({**ARGS, "engine": {**ENGINE, "threads": 1}})
    with pytest.raises(BadRequest, match=r"settings\.threads: default there, 1 here"):
        measured_baseline(str(stored), other.engine)
