"""The students' notebook: its cells run from top to bottom, on a CPU and without a network."""

import json
from pathlib import Path

import pytest

pytest.importorskip("nbformat", reason="the dev extra is not installed")
pytest.importorskip("nbclient", reason="the dev extra is not installed")
pytest.importorskip("peft", reason="the train extra is not installed")
pytest.importorskip("pyarrow", reason="the experiments extra is not installed")

import nbformat
from nbclient import NotebookClient

from tests.e2e.rows import rows_in, total
from tests.unit.training.dialogues import forest, write

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/student.ipynb"
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.filterwarnings("default"),  # the notebook client's own
]


def test_its_cells_run_and_show_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "STUDENT_DATA": write(tmp_path / "some.jsonl", forest(12)),
        "STUDENT_STUDY": "test",
        "STUDENT_WORK": tmp_path / "work",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=400, kernel_name="python3").execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [one for one in outputs if "image/png" in one.get("data", {})]
    assert len(pictures) == 3, "losses, S_measured, C_coord by part"
    said = "".join(one["text"] for one in outputs if one.get("name") == "stdout")
    assert "S_measured with three agents against two" in said
    summary = json.loads((tmp_path / "work/third-agent/summary.json").read_text())
    assert not summary["partial"]
    rows = rows_in(tmp_path / "work/third-agent")
    assert total(rows, "lost") == 0
    two, three = (total(rows, "turns_per_s", agents=f"{n} agents") for n in ("two", "three"))
    assert three < two, "the same prompts, answered with one phase more"


def test_it_is_kept_without_outputs() -> None:
    """They would be another machine's, and change with every run."""
    notebook = json.loads(NOTEBOOK.read_text())
    assert not any(cell.get("outputs") for cell in notebook["cells"])
