"""The text by which quantised models are measured."""

from coordsvc.training.quantise import OUR_TEXT, folder_bytes, windows


def test_each_token_but_a_windows_first_is_foreseen() -> None:
    found = windows(list(range(10)), 4)
    assert [one.ids for one in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert [one.target_tokens for one in found] == [3, 3, 1]


def test_a_window_of_one_token_foresees_nothing() -> None:
    assert [one.ids for one in windows([1, 2, 3], 2)] == [(1, 2)]


def test_our_text_is_a_page() -> None:
    assert 300 < len(OUR_TEXT.read_text(encoding="utf-8").split()) < 600


def test_a_folders_size_is_that_of_its_weights(tmp_path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"12345")
    (tmp_path / "b.safetensors").write_bytes(b"123")
    (tmp_path / "tokenizer.json").write_bytes(b"1" * 100)
    assert folder_bytes(tmp_path) == 8
