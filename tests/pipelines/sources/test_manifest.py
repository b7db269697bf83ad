"""Checks that a manifest's rows become items, that a bad row is one bad entry, and that memory stays bounded."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from models.errors import ConfigError
from models.types import Item, Task
from pipelines.sources import Columns, Source
from pipelines.sources.lines import LONGEST
from pipelines.types import Failed
from tests.pipelines.sources.builders import a_tree, fault, ids, items, opened


def a_manifest(folder: Path, content: bytes | str, name: str = "drop.jsonl") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def in_lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def a_parquet(folder: Path, columns: dict[str, Any], *, rows_per_group: int = 1000) -> Path:
    parquet.write_table(pyarrow.table(columns), folder / "drop.parquet", row_group_size=rows_per_group)
    return folder / "drop.parquet"


def listed(folder: Path, content: bytes | str, task: Task = "ner", *, name: str = "drop.jsonl") -> Source:
    return opened(a_manifest(folder, content, name), task)


RECORDS = [
    {"id": "one", "uri": "a/1.jpg", "camera": "north"},
    {"id": "two", "uri": "https://example.com/2.jpg", "camera": 'south, "old"\tone'},
]
WRITTEN = {
    "drop.jsonl": in_lines(*RECORDS).encode(),
    "drop.ndjson": in_lines(*RECORDS).encode(),
    "drop.csv": b'id,uri,camera\none,a/1.jpg,north\ntwo,https://example.com/2.jpg,"south, ""old""\tone"\n',
    "drop.tsv": b'id\turi\tcamera\none\ta/1.jpg\tnorth\ntwo\thttps://example.com/2.jpg\t"south, ""old"" one"\n',
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRITTEN, "drop.parquet"])
def test_every_kind_of_manifest_gives_the_same_items(name: str, tmp_path: Path) -> None:
    if name == "drop.parquet":
        a_parquet(tmp_path, {key: [record[key] for record in RECORDS] for key in RECORDS[0]})
    else:
        a_manifest(tmp_path, WRITTEN[name], name)

    first, second = items(opened(tmp_path / name))

    assert first == Item(id="one", media="image", uri=str(tmp_path / "a/1.jpg"), meta={"camera": "north"})
    assert (second.id, second.uri) == ("two", "https://example.com/2.jpg")
    assert second.meta["camera"].replace("\t", " ") == 'south, "old" one'


def test_an_entry_without_an_id_is_named_by_its_uri_or_its_line(tmp_path: Path) -> None:
    manifest = in_lines(
        {"uri": "a/1.txt"},
        {"text": "Alice"},
        {"uri": f"{tmp_path}/b/2.txt"},
        {"uri": "https://example.com/3.txt"},
        {"uri": "https://example.com/4.txt?X-Amz-Signature=s3cr3t"},
        {"uri": "data:,Alice"},
        {"id": "", "uri": "s3://drops/5.txt"},
        {"id": 7, "text": "Alice"},
    )

    assert ids(listed(tmp_path, manifest).entries()) == [
        "a/1.txt", "line 2", "b/2.txt", "https://example.com/3.txt", "line 5", "line 6", "s3://drops/5.txt", "7",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [("a.jpg", "{folder}/a.jpg"), ("./a.jpg", "{folder}/a.jpg"), ("../a.jpg", "{folder}/../a.jpg"),
     ("/other/a.jpg", "/other/a.jpg"), ("file:///x/a.jpg", "file:///x/a.jpg"), ("s3://b/a.jpg", "s3://b/a.jpg")],
)  # fmt: skip
def test_a_relative_uri_is_seen_from_the_manifests_folder(uri: str, wanted: str, tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, in_lines({"uri": uri}), "detection"))

    assert item.uri == wanted.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("base", "wanted"),
    [("images", "{folder}/images/a.jpg"), ("/mnt/images", "/mnt/images/a.jpg"),
     ("https://example.com/x/", "https://example.com/x/a.jpg"), ("s3://drops/in", "s3://drops/in/a.jpg")],
)  # fmt: skip
def test_a_base_takes_the_place_of_the_manifests_folder(base: str, wanted: str, tmp_path: Path) -> None:
    [item] = items(opened(a_manifest(tmp_path, in_lines({"uri": "a.jpg"})), base=base))

    assert (item.id, item.uri) == ("a.jpg", wanted.format(folder=tmp_path))


def test_other_columns_are_meta_as_strings(tmp_path: Path) -> None:
    record = {"text": "Alice", "s": "x", "n": 3, "f": 0.5, "b": True, "none": None, "list": [1, "é"], "empty": ""}

    [item] = items(listed(tmp_path, in_lines(record)))

    assert item.meta == {"s": "x", "n": "3", "f": "0.5", "b": "true", "list": '[1,"é"]', "empty": ""}


@pytest.mark.parametrize(
    ("task", "record", "content"),
    [
        ("detection", {"file_name": "a.jpg", "text": "a caption"}, "a.jpg"),
        ("detection", {"image": "a.jpg", "sentence": "a caption"}, "a.jpg"),
        ("speech", {"audio_filepath": "a.wav", "duration": 1.5, "text": "a transcript"}, "a.wav"),
        ("speech", {"path": "a.mp3", "sentence": "a transcript"}, "a.mp3"),
        ("ner", {"sentence": "Alice"}, "Alice"),
        ("ner", {"text": "Alice", "url": "https://example.com/where-it-is-from"}, "Alice"),
        ("ner", {"uri": None, "text": "Alice"}, "Alice"),
        ("ner", {"path": "a.txt"}, "a.txt"),
        ("ner", {"uri": "", "path": "a.txt"}, "a.txt"),
    ],
)
def test_usual_names_of_columns_are_known(task: Task, record: dict[str, Any], content: str, tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, in_lines(record), task))

    assert content in (item.text, Path(item.uri or "").name)
    unused = {key for key, value in record.items() if value not in (content, None, "")}
    assert item.meta.keys() >= unused


def test_columns_can_be_named(tmp_path: Path) -> None:
    manifest = a_manifest(tmp_path, in_lines({"key": "k", "picture": "a.jpg", "uri": "b.jpg", "id": 9}))

    [item] = items(opened(manifest, columns=Columns(id="key", uri="picture")))

    assert (item.id, item.uri, item.meta) == ("k", str(tmp_path / "a.jpg"), {"uri": "b.jpg", "id": "9"})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "no JSON"),
        (b'{"text": NaN}', "no JSON"),
        (b'{"text": "a"} trailing', "no JSON"),
        (b'{"text": "\xff"}', "no JSON"),
        (b'{"text": "\\ud800"}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'["a"]', "holds a list"),
        (b'"a"', "holds a str"),
        (b"null", "holds a NoneType"),
        (b"{}", "no 'uri' or 'text'"),
        (b'{"id": "a", "meta": 1}', "no 'uri' or 'text'"),
        (b'{"uri": "a.txt", "text": "a"}', "'uri' and 'text'"),
        (b'{"path": "a.txt", "url": "b.txt"}', "'url' and 'path'"),
        (b'{"text": 5}', "'text' holds a int"),
        (b'{"text": ["a"]}', "'text' holds a list"),
        (b'{"uri": {"a": 1}}', "'uri' holds a dict"),
        (b'{"uri": "a\\u0000b.txt"}', "NUL"),
        (b'{"id": "a\\u0000", "text": "a"}', "NUL"),
        (b'{"id": true, "text": "a"}', "'id' holds a bool"),
        (b'{"id": 1.5, "text": "a"}', "'id' holds a float"),
        (b'{"id": ["a"], "text": "a"}', "'id' holds a list"),
    ],
)
def test_a_bad_line_is_one_bad_entry(line: bytes, why: str, tmp_path: Path) -> None:
    good = b'{"text": "Alice"}'

    entries = list(listed(tmp_path, b"\n".join([good, b"", line, good])).entries())

    assert ids(entries) == ["line 1", "line 3: invalid_entry", "line 4"]
    assert isinstance(entries[1], Failed)
    assert why in entries[1].failure.message


@pytest.mark.parametrize("name", ["drop.jsonl", "drop.csv", "drop.tsv"])
def test_a_line_that_is_too_long_costs_itself_only(name: str, tmp_path: Path) -> None:
    good = b'{"text": "Alice"}' if name == "drop.jsonl" else b"Alice"
    header = [] if name == "drop.jsonl" else [b"text"]
    manifest = b"\n".join([*header, good, b"x" * (LONGEST + 1), good])

    entries = list(listed(tmp_path, manifest, name=name).entries())

    second = len(header) + 2
    assert ids(entries) == [f"line {second - 1}", f"line {second}: invalid_entry", f"line {second + 1}"]
    assert isinstance(entries[1], Failed)
    assert "more than" in entries[1].failure.message


def test_a_nul_in_a_text_is_left_to_the_decoder(tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, b'{"text": "a\\u0000b", "note": "\\u0000"}'))

    assert (item.text, item.meta) == ("a\0b", {"note": "\0"})


def test_an_empty_text_is_a_text(tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, in_lines({"text": ""})))

    assert item.text == ""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("drop.jsonl", ['{"id": "1", "text": "ä"}']),
        ("drop.csv", ["id,text", "1,ä"]),
        ("drop.tsv", ["id\ttext", "1\tä"]),
    ],
)
def test_byte_order_marks_line_ends_and_blank_lines_do_not_matter(
    name: str, lines: list[str], bom: bytes, end: str, tmp_path: Path
) -> None:
    content = bom + end.join([*lines, "", "  ", lines[-1]]).encode()

    assert [item.text for item in items(listed(tmp_path, content, name=name))] == ["ä", "ä"]


def test_an_empty_manifest_of_lines_has_no_entries(tmp_path: Path) -> None:
    assert items(listed(tmp_path, b"")) == []


def test_fields_of_comma_separated_values_may_hold_anything(tmp_path: Path) -> None:
    rows = [["1", 'a "b", c'], ["2", "line\nline\r\nline"], ["3", ",,,"], ["4", "\t\0'"]]
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text"], *rows])

    assert [[item.id, item.text] for item in items(listed(tmp_path, file.getvalue(), name="drop.csv"))] == rows


def test_a_row_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    content = 'text,note\n"a\nb\nc",x\n\nd,y\n,,\ne,z\n'

    assert ids(listed(tmp_path, content, name="drop.csv").entries()) == [
        "line 2",
        "line 6",
        "line 8",
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"a,b,c", "3 columns, wanted 2"),
        (b"a", "1 columns, wanted 2"),
        (b'"a" b,c', "cannot be read"),
        (b"\xff,b", "not UTF-8"),
        (b'"a\n\xff",b', "not UTF-8"),
        (b"x" * 200_000 + b",b", "field larger than field limit"),
        (b",b", "no 'uri' or 'text'"),
    ],
)
def test_a_bad_row_of_comma_separated_values_is_one_bad_entry(row: bytes, why: str, tmp_path: Path) -> None:
    entries = list(listed(tmp_path, b"text,note\nAlice,x\n" + row + b"\nBob,y\n", name="drop.csv").entries())

    assert [type(entry) for entry in entries] == [Item, Failed, Item]
    assert isinstance(entries[1], Failed)
    assert entries[1].item.id == "line 3"
    assert why in entries[1].failure.message


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path) -> None:
    lines = b"".join(b'"' + b"x" * 100 + b'",\n' for _ in range(10))
    endless = b'text,note\nAlice,x\n"' + (b"y" * 1000 + b"\n") * 20_000

    entries = list(listed(tmp_path, endless + lines, name="drop.csv").entries())

    assert ids(entries[:2]) == ["line 2", "line 3: invalid_entry"]


def test_quotes_of_tab_separated_values_stay_unless_they_enclose_a_field(tmp_path: Path) -> None:
    cells = {
        '"Hello," he said.': None,
        '"a ""b"" c"': 'a "b" c',
        'say "a"': None,
        '"': None,
        '"a" and "b"': None,
    }
    content = "id\ttext\n" + "".join(f"{at}\t{cell}\n" for at, cell in enumerate(cells))

    texts = [item.text for item in items(listed(tmp_path, content, name="drop.tsv"))]

    assert texts == [cell if wanted is None else wanted for cell, wanted in cells.items()]


@pytest.mark.parametrize("row", ["a", "a\tb\tc", "\xff\tb"])
def test_a_bad_row_of_tab_separated_values_is_one_bad_entry(row: str, tmp_path: Path) -> None:
    content = f"text\tnote\n{row}\nAlice\tx\n".encode("latin-1")

    assert ids(listed(tmp_path, content, name="drop.tsv").entries()) == ["line 2: invalid_entry", "line 3"]


def test_parquet_is_read_by_row_groups_with_plain_columns_only(tmp_path: Path) -> None:
    count = 2500
    columns = {
        "text": pyarrow.array([f"text {n}" for n in range(count)]).dictionary_encode(),
        "n": list(range(count)),
        "picture": pyarrow.array([{"bytes": b"x", "path": "p"}] * count),
        "raw": pyarrow.array([b"x"] * count),
    }

    found = items(opened(a_parquet(tmp_path, columns, rows_per_group=999), "ner"))

    assert [item.id for item in found] == [f"row {n}" for n in range(1, count + 1)]
    assert found[-1] == Item(id=f"row {count}", media="text", text=f"text {count - 1}", meta={"n": str(count - 1)})


def test_a_row_of_parquet_that_is_no_utf_8_is_one_bad_entry(tmp_path: Path) -> None:
    raw = pyarrow.array([b"Alice", b"\xff", b"Bob"])
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())

    entries = list(opened(a_parquet(tmp_path, {"text": texts}), "ner").entries())

    assert ids(entries) == ["row 1", "row 2: invalid_entry", "row 3"]


def test_a_damaged_row_group_is_one_bad_entry_and_the_next_is_read(tmp_path: Path) -> None:
    texts = [f"{n:06d}" * 50 for n in range(300)]
    file = a_parquet(tmp_path, {"text": texts}, rows_per_group=100)
    start = parquet.ParquetFile(file).metadata.row_group(1).column(0).dictionary_page_offset
    with file.open("r+b") as damaged:
        damaged.seek(start)
        damaged.write(b"\xff" * 500)

    found = ids(opened(file, "ner").entries())

    assert found[99:102] == ["row 100", "rows 101 to 200: invalid_entry", "row 201"]
    assert len(found) == 201


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("drop.csv", b"", "the columns none"),
        ("drop.csv", b"a,b\n1,2\n", "the columns a, b; wanted 'uri' or 'text'"),
        ("drop.tsv", b"a\tb\n", "the columns a, b; wanted 'uri' or 'text'"),
        ("drop.csv", b"text,text\n", "several columns 'text'"),
        ("drop.csv", b"te\xffxt\n", "not UTF-8"),
        ("drop.csv", b'"text\n', "first line cannot be read"),
        ("drop.csv", b"text" * LONGEST, "first line cannot be read"),
        ("drop.tsv", b"text" * LONGEST, "first line is too long"),
        ("drop.tsv", b"te\xffxt\n", "not UTF-8"),
        ("drop.csv", "text\na\n".encode("utf-16"), "UTF-16"),
        ("drop.parquet", b"PAR1 and no more", "no Parquet"),
        ("drop.parquet", b"", "no Parquet"),
    ],
)
def test_a_manifest_of_another_kind_is_refused_when_it_is_opened(
    name: str, content: bytes, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=why):
        listed(tmp_path, content, name=name)


def test_a_text_column_says_nothing_about_images(tmp_path: Path) -> None:
    manifest = a_manifest(tmp_path, "text\nAlice\n", "drop.csv")

    with pytest.raises(ConfigError, match="wanted 'uri'"):
        opened(manifest, "detection")
    with pytest.raises(ConfigError, match="wanted one for URIs"):
        opened(manifest, "detection", columns=Columns(text="text"))


def test_the_same_file_has_the_same_identity_and_a_changed_one_another(tmp_path: Path) -> None:
    before = listed(tmp_path, in_lines({"text": "a"}))
    first = before.identity()

    assert before.identity() == first == opened(tmp_path / "drop.jsonl", "ner").identity()
    assert first["size"] == str((tmp_path / "drop.jsonl").stat().st_size)
    assert opened(tmp_path / "drop.jsonl", "ner", base="x").identity() != first
    assert listed(tmp_path, in_lines({"text": "abc"})).identity() != first


def test_a_manifest_that_changes_while_it_is_listed_says_so_at_its_end(tmp_path: Path) -> None:
    manifest = a_manifest(tmp_path, in_lines({"text": "a"}, {"text": "b"}))
    entries = opened(manifest, "ner").entries()
    next(entries)

    with manifest.open("a") as file:
        file.write(in_lines({"text": "c"}))

    with pytest.raises(ConfigError, match="changed while it was listed") as caught:
        list(entries)
    assert caught.value.code == "changed"


def test_a_manifest_that_is_gone_is_not_there(tmp_path: Path) -> None:
    source = listed(tmp_path, in_lines({"text": "a"}))
    (tmp_path / "drop.jsonl").unlink()

    for look in (source.identity, lambda: list(source.entries())):
        with pytest.raises(ConfigError) as caught:
            look()
        assert caught.value.code == "not_found"


def test_200_000_lines_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    lines = (f'{{"id": "item {n}", "uri": "folder/{n}.jpg", "camera": "north"}}\n' for n in range(200_000))
    with (tmp_path / "drop.jsonl").open("w") as file:
        file.writelines(lines)
    source = opened(tmp_path / "drop.jsonl")

    tracemalloc.start()
    try:
        count = sum(isinstance(entry, Item) for entry in source.entries())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 200_000
    assert peak < 2**20


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["id", "uri", "text", "url", "path", "sentence", "camera", ""])


@settings(max_examples=200, deadline=None)
@given(records=st.lists(st.dictionaries(keys, json_values, max_size=5) | json_values, max_size=8))
def test_whatever_the_lines_say_each_gives_one_entry(
    records: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = listed(tmp_path_factory.mktemp("drop"), in_lines(*records))

    entries = list(source.entries())

    assert len(entries) == len(records)
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, Failed):
            assert (entry.item.id, entry.failure.code) == (f"line {number}", "invalid_entry")
        else:
            assert (entry.uri is None) != (entry.text is None)
            assert entry.id
            assert all(isinstance(value, str) for value in entry.meta.values())


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from(["drop.jsonl", "drop.csv", "drop.tsv"]))
def test_no_bytes_end_a_listing_before_its_end(
    content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = b"" if name == "drop.jsonl" else b"text\n"
    last = b'\n{"text": "the end"}' if name == "drop.jsonl" else b"\nthe end"
    source = listed(tmp_path_factory.mktemp("drop"), header + content + last, name=name)

    *_, end = source.entries()

    if isinstance(end, Item):
        assert (end.text or "").endswith("the end")
    else:
        assert b'"' in content or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_texts_come_through_as_they_are(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, file = tmp_path_factory.mktemp("drop"), io.StringIO()
    csv.writer(file).writerows([["id", "text"], *([str(n), text] for n, text in enumerate(texts))])
    records = [{"id": str(n), "text": text} for n, text in enumerate(texts)]

    by_lines = items(listed(folder, in_lines(*records)))
    by_cells = items(listed(folder, file.getvalue(), name="drop.csv"))

    assert [item.text for item in by_lines] == texts
    assert [item.text for item in by_cells] == texts


def test_a_manifest_names_files_beside_it(tmp_path: Path) -> None:
    a_tree(tmp_path, "a/x.jpg")

    [item] = items(listed(tmp_path, in_lines({"uri": "a/x.jpg"}), "detection"))

    assert Path(item.uri or "").read_bytes() == b"x"
    assert fault(listed(tmp_path, b"{")).item.media == "text"
