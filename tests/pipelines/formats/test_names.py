"""Tests that an item's files and fields can be told from those of any other item."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.names import field, file_of, open_file

texts = st.text(alphabet=st.characters(), max_size=20)


@given(texts, texts)
def test_different_names_are_different_fields(one: str, other: str) -> None:
    assert (field(one) == field(other)) == (one == other)


@given(texts)
def test_a_field_ends_at_no_space_and_is_no_comment(name: str) -> None:
    assert field(name).split() == [field(name)]
    assert not field(name).startswith((";", '"'))


@given(texts.filter(bool))
def test_a_name_comes_back_out_of_its_field(name: str) -> None:
    assert unquote(field(name), errors="surrogatepass") == name


@pytest.mark.parametrize(
    ("name", "written"), [("call a/1.wav", "call%20a/1.wav"), ("Jürgen", "Jürgen"), ("NA", "%4EA"), ("", "%")]
)
def test_an_ordinary_name_stays_readable(name: str, written: str) -> None:
    assert field(name) == written


def test_the_file_of_one_item_is_not_in_the_way_of_the_folder_of_another(tmp_path: Path) -> None:
    for item_id in ("a", "a.vtt/b", "a.vtt/b.vtt/c"):
        with open_file(tmp_path, item_id, ".vtt") as file:
            file.write(item_id)

    assert (tmp_path / "a.vtt").read_text() == "a"
    assert (tmp_path / "a.vtt%" / "b.vtt").read_text() == "a.vtt/b"


@given(st.lists(st.sampled_from(["a", "a.vtt", "a.vtt%", ".vtt", ""]), min_size=1, max_size=3), st.data())
def test_no_file_is_a_folder_of_another(parts: list[str], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.sampled_from(parts), min_size=1, max_size=4))

    one_file, other_file = file_of("/".join(parts), ".vtt"), file_of("/".join(other), ".vtt")

    assert one_file not in other_file.parents
    assert (one_file == other_file) == (parts == other)
