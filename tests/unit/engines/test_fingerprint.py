"""What an engine's times depend on."""

from pathlib import Path

import pytest

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.fingerprint import (
    PIECE_BYTES,
    PIECES,
    cores_limit,
    cpu_model,
    fingerprint,
    machine,
    memory_gib,
    model_digest,
)
from coordsvc.engines.settings import (
    EmulatedSettings,
    OpenVinoSettings,
    ScriptedSettings,
    ScriptRule,
    TransformersSettings,
    VllmSettings,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a machine's kernel tells of it."""
    for name, told in {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7R13: Processor\n",
        "proc/meminfo": "MemFree:  100 kB\nMemTotal:       25213552 kB\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA H100\nIRQ: 3\n",
        "proc/driver/nvidia/gpus/0000:02:00.0/information": "Model: \t NVIDIA L4\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(told)
    return tmp_path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF" + bytes(range(256)) * 4)
    return path


def test_the_machine_is_told_as_its_kernel_tells_it(root: Path) -> None:
    found = machine(root)
    assert found.pop("cores").isdigit()
    assert found == {"cpu": "AMD EPYC 7R13: Processor", "cores_limit": "1.5", "memory_gib": "24"}


def test_a_machine_that_tells_nothing_still_has_a_fingerprint(tmp_path: Path) -> None:
    found = machine(tmp_path / "nowhere")
    assert (found["cores_limit"], found["memory_gib"]) == ("none", "unknown")
    assert found["cpu"]


@pytest.mark.parametrize("told", ["", "max 100000", "100000", "1 0", "x y"])
def test_no_limit_is_read_where_there_is_none(told: str) -> None:
    assert cores_limit(told) == "none"


def test_what_a_kernel_does_not_say_is_not_made_up() -> None:
    assert cpu_model("processor: 0\n") == ""
    assert memory_gib("MemTotal: lots\n") == "unknown"


def test_settings_that_a_lone_request_does_not_feel_are_left_out() -> None:
    one = fingerprint(EmulatedSettings(waiting_max=5))
    assert one == fingerprint(EmulatedSettings(waiting_max=6))
    other = fingerprint(EmulatedSettings(speed=2.0))
    assert {name for name in one if one[name] != other[name]} == {"settings.speed"}


def test_the_model_is_known_by_its_content_wherever_it_lies(model: Path, tmp_path: Path) -> None:
    before = model_digest(model)
    elsewhere = tmp_path / "elsewhere" / model.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(model.read_bytes())
    assert model_digest(elsewhere) == before
    elsewhere.write_bytes(model.read_bytes()[:-1] + b"!")
    assert model_digest(elsewhere) != before
    assert before.startswith("1028 bytes")


LARGE = 2 * PIECES * PIECE_BYTES
MIDDLE = (LARGE - PIECE_BYTES) * 32 // (PIECES - 1)
"""Where the 33rd piece begins."""


@pytest.mark.parametrize("where", [0, MIDDLE, LARGE - 1])
def test_of_a_large_model_pieces_all_through_it_are_looked_at(tmp_path: Path, where: int) -> None:
    path = tmp_path / "large.gguf"
    content = bytearray(LARGE)
    path.write_bytes(content)
    before = model_digest(path)
    content[where] = 1
    path.write_bytes(content)
    assert model_digest(path) != before


def test_a_model_of_many_files_is_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "inner" / "weights.bin").write_bytes(b"12345678")
    before = model_digest(folder)
    assert before.startswith("10 bytes")
    (folder / "inner" / "weights.bin").rename(folder / "inner" / "other.bin")
    assert model_digest(folder) != before


def test_a_model_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(EngineBroken, match=r"nowhere\.gguf.* is not there"):
        fingerprint(OpenVinoSettings(model="nowhere.gguf"))


def test_the_accelerator_is_named_where_one_is_used(root: Path, model: Path) -> None:
    def accelerator(settings) -> str:
        return fingerprint(settings, root)["accelerator"]

    assert accelerator(OpenVinoSettings(model=str(model))) == "none"
    assert accelerator(OpenVinoSettings(model=str(model), device="GPU.1")) == "GPU.1"
    assert accelerator(TransformersSettings(model=str(model))) == "none"
    assert accelerator(TransformersSettings(model=str(model), device="cuda")) == (
        "NVIDIA H100, NVIDIA L4"
    )
    assert accelerator(VllmSettings()) == "NVIDIA H100, NVIDIA L4"
    assert accelerator(EmulatedSettings()) == "none"


def test_libraries_count_by_their_versions(model: Path) -> None:
    told = fingerprint(TransformersSettings(model=str(model)))
    assert {name for name in told if name.startswith("version.")} == {
        "version.torch",
        "version.transformers",
        "version.coordsvc",
        "version.python",
    }
    assert fingerprint(VllmSettings(model="some/model-of-a-hub"))["model_files"] == "of the hub"


def test_adapters_are_known_by_their_content(model: Path, tmp_path: Path) -> None:
    def told() -> dict[str, str]:
        adapters = {"planner": str(tmp_path / "a")}
        return fingerprint(TransformersSettings(model=str(model), adapters=adapters))

    (tmp_path / "a").mkdir()
    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.write_bytes(b"one")
    before = told()
    weights.write_bytes(b"two")
    after = told()
    assert {name for name in after if before[name] != after[name]} == {"adapter.planner"}
    without = fingerprint(TransformersSettings(model=str(model)))
    assert set(after) - set(without) == {"adapter.planner"}


def test_a_long_value_is_told_by_its_hash() -> None:
    def told(reply: str) -> str:
        return fingerprint(ScriptedSettings(rules=[ScriptRule(reply=reply)]))["settings.rules"]

    assert len(told("word " * 100)) < 40
    assert told("word " * 100) != told("word " * 101)
