"""Checks what a drop is taken for, and what is said of one that is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from pipelines.fetch import FetchPolicy
from pipelines.sources import check_drop, open_source, opening
from tests.pipelines.sources.builders import a_tree, ids, opened


@pytest.mark.parametrize(
    ("name", "kind"), [("folder", "folder"), ("fol*", "folder"), ("a.jsonl", "manifest"), ("b.CSV", "manifest")]
)
def test_a_drop_is_what_its_name_says(name: str, kind: str, tmp_path: Path) -> None:
    a_tree(tmp_path, "folder/x.txt")
    a_tree(tmp_path, "a.jsonl", "b.CSV", content=b"text\nx\n")

    assert opened(f"{tmp_path}/{name}", "ner", root=tmp_path).identity()["kind"] == kind


def test_a_relative_drop_is_seen_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_tree(tmp_path, "photos/x.jpg")
    monkeypatch.chdir(tmp_path)

    for drop in ("photos", "./photos/", "photos/*.jpg", str(tmp_path / "photos")):
        policy = opening(FetchPolicy(), drop)
        assert ids(open_source(drop, "detection", policy=policy).entries()) == ["x.jpg"]


@pytest.mark.parametrize("drop", ["photos", "photos/*.jpg", "photos/drop.jsonl"])
def test_a_drop_outside_the_roots_is_refused(drop: str, tmp_path: Path) -> None:
    a_tree(tmp_path, "photos/x.jpg", "photos/drop.jsonl", "open/x.jpg")

    for roots in ((), (tmp_path / "open",)):
        with pytest.raises(ConfigError, match=r"fetch\.roots") as caught:
            open_source(f"{tmp_path}/{drop}", "detection", policy=FetchPolicy(roots=roots))
        assert caught.value.code == "blocked_url"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/*.jpg",
        "/x.jsonl",
        "/x.json",
        "/x.tar",
        "/{a,b}.tar",
        "/*.tar",
        "/x.jpg",
        "/" + "n" * 5000,
    ],
)
def test_nobody_is_told_what_is_outside_the_roots(rest: str, tmp_path: Path) -> None:
    a_tree(tmp_path, "there/x.jpg", "open/x.jpg")
    policy = FetchPolicy(roots=(tmp_path / "open",))

    answers = set[str]()
    for folder in ("there", "not there"):
        with pytest.raises(ConfigError) as caught:
            open_source(f"{tmp_path}/{folder}{rest}", "detection", policy=policy)
        answers.add(caught.value.message)

    assert len(answers) == 1


def test_braces_do_not_lead_out_of_the_roots(tmp_path: Path) -> None:
    a_tree(tmp_path, "open/x.jpg", "there/x.tar")

    with pytest.raises(ConfigError, match=r"wanted one without \.\."):
        opened(f"{tmp_path}/open/{{.,x}}./there/*.tar", root=tmp_path / "open")


def test_naming_a_drop_at_the_command_line_opens_its_folder_and_no_other(tmp_path: Path) -> None:
    a_tree(tmp_path, "photos/x.jpg", "lists/drop.jsonl")
    before = FetchPolicy(roots=(tmp_path / "a",))

    def opens(drop: str) -> tuple[Path, ...]:
        return opening(before, drop).roots[1:]

    assert opens(f"{tmp_path}/photos") == (tmp_path / "photos",)
    assert opens(f"{tmp_path}/photos/**/*.jpg") == (tmp_path / "photos",)
    assert opens(f"{tmp_path}/lists/drop.jsonl") == (tmp_path / "lists",)
    assert opening(before, "s3://drops/in") is before


@pytest.mark.parametrize(
    ("drop", "why"),
    [
        ("{folder}/nowhere", "not there"),
        ("{folder}/nowhere.jsonl", "no file"),
        ("{folder}/nowhere/*.jpg", "no file"),
        ("{folder}/a.jpg", "wanted a folder"),
        ("https://example.com/drop.jsonl", "wanted a folder"),
        ("ftp://example.com/x", "wanted a folder"),
    ],
)
def test_what_is_no_drop_is_refused_in_words(drop: str, why: str, tmp_path: Path) -> None:
    a_tree(tmp_path, "a.jpg")

    with pytest.raises(ConfigError, match=why):
        opened(drop.format(folder=tmp_path), root=tmp_path)


def test_a_kind_overrides_the_name(tmp_path: Path) -> None:
    drop = a_tree(tmp_path / "drop.jsonl", "x.jpg")

    assert ids(opened(drop, kind="folder").entries()) == ["x.jpg"]
    with pytest.raises(ConfigError, match="unknown kind of drop 'heap'; choose one of: folder"):
        opened(drop, kind="heap")
    with pytest.raises(ConfigError, match="as a manifest; wanted one of"):
        opened(a_tree(tmp_path, "a.dat") / "a.dat", kind="manifest")


def test_a_manifest_may_be_called_json_where_its_kind_is_said(tmp_path: Path) -> None:
    drop = a_tree(tmp_path, "train.json", content=b'{"audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav"}\n')

    assert ids(opened(drop / "train.json", "speech", kind="manifest").entries()) == ["a.wav", "b.wav"]


def test_braces_stand_for_no_more_than_can_be_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than 100000 paths"):
        opened(f"{tmp_path}/{{000..999}}/{{000..999}}.jpg", root=tmp_path)


def test_a_strangers_drop_is_checked_without_asking_its_bucket() -> None:
    policy = FetchPolicy(allowed_buckets=("s3://drops/in",))

    for drop in ("s3://drops/in", "s3://drops/in/", "s3://drops/in/2026", "s3://drops/in/drop.jsonl"):
        check_drop(drop, policy=policy)
    for drop in ("s3://drops/inner", "s3://drops", "s3://drops/in/../out", "gs://drops/in"):
        with pytest.raises(ConfigError, match=r"fetch\.allowed_buckets|odd object name"):
            check_drop(drop, policy=policy)


def test_a_strangers_path_must_be_there_and_a_pattern_need_not_fit_anything(tmp_path: Path) -> None:
    policy = FetchPolicy(roots=(a_tree(tmp_path, "drop/a.jpg"),))

    check_drop(f"{tmp_path}/drop", policy=policy)
    check_drop(f"{tmp_path}/none/**/*.jpg", policy=policy)
    for drop in (f"{tmp_path}/none", f"{tmp_path}/none.jsonl", f"file://{tmp_path}/none.jsonl"):
        with pytest.raises(ConfigError) as caught:
            check_drop(drop, policy=policy)
        assert caught.value.code == "not_found"
