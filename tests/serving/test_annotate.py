"""Tests 'prelabel annotate' and 'prelabel runs' as their users call them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from models.errors import ConfigError, ModelError
from pipelines.errors import NotFoundError
from pipelines.formats import parquet
from serving import cli
from serving.demo import DROP
from serving.settings import PRESETS

run = CliRunner()
TEXTS = DROP / "ner"


@pytest.fixture
def environment(postgres_url: str) -> dict[str, str]:
    return {"PRELABEL_STORE__URL": postgres_url}


def annotate(environment: dict[str, str], *arguments: object) -> Result:
    return run.invoke(cli.app, ["annotate", *map(str, arguments), "--json"], env=environment)


def events(answer: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.stdout.splitlines()]


def ask(environment: dict[str, str], *arguments: str) -> Any:
    return json.loads(run.invoke(cli.app, [*arguments, "--json"], env=environment).stdout)


def a_drop(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def test_a_folder_of_texts_is_annotated_without_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    answer = annotate(environment, TEXTS, "--task", "ner", "--out", tmp_path / "out")

    assert answer.exit_code == 3, answer.output  # one of the texts is no UTF-8
    started, *_, finished = events(answer)
    files = sorted(file.name for file in TEXTS.iterdir())
    found = list(parquet.read(tmp_path / "out"))
    assert sorted(result.id for result in found) == files
    assert [result.error.code for result in found if result.error] == ["invalid_text"]
    assert (finished["finished"], finished["failed"], finished["status"]) == (len(files), 1, "done")
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    [queue] = ask(environment, "queue")
    assert queue["pending"] == finished["review"] > 0
    [listed] = ask(environment, "runs", "list")
    assert (listed["id"], listed["status"]) == (started["run"], "done")


def test_the_folder_says_what_it_came_from(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon.", "b.txt": "Nobody there."})

    answer = annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out")

    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert answer.exit_code == 0
    assert manifest["source"]["drop"] == str(drop)
    assert (manifest["status"], manifest["attempts"], manifest["errors"]) == ("done", 1, [])
    [shard] = manifest["files"]
    assert hashlib.sha256((tmp_path / "out" / shard["name"]).read_bytes()).hexdigest() == shard["sha256"]
    assert shard["rows"] == 2
    assert manifest["counts"]["labels"] + manifest["counts"]["nothing_found"] == 2
    [model] = manifest["models"]
    assert model == "sentence-tagger@1"


def test_the_failures_of_a_run_are_listed_and_can_be_driven_again(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    (drop / "b.txt").write_bytes(b"caf\xe9")
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out"))

    [error] = ask(environment, "runs", "errors", first["run"])
    (drop / "b.txt").write_text("café")
    again = run.invoke(cli.app, ["runs", "redrive", first["run"], "--code", "invalid_text", "--json"], env=environment)

    assert (error["item_id"], error["failure"]["code"], error["failure"]["attempts"]) == ("b.txt", "invalid_text", 1)
    assert again.exit_code == 0, again.output
    shown = ask(environment, "runs", "show", first["run"])
    assert (shown["attempt"], shown["errors"], shown["listed"]) == (2, [], 2)


def test_a_finished_run_that_is_resumed_computes_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out"))

    *_, by_id = events(annotate(environment, "--resume", first["run"]))
    *_, automatic = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out", "--resume", "auto"))

    assert (by_id["run"], by_id["stored"], by_id["labels"]) == (first["run"], 0, 1)
    assert (automatic["run"], automatic["stored"]) == (first["run"], 0)


def test_resuming_automatically_begins_a_run_where_there_is_none(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})

    answer = annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out", "--resume", "auto")

    assert answer.exit_code == 0, answer.output


def test_a_drop_that_is_not_there_is_refused_before_a_database_is_made(tmp_path: Path) -> None:
    environment = {"PRELABEL_STORE__FOLDER": str(tmp_path / "store")}

    answer = annotate(environment, tmp_path / "nowhere", "--task", "ner", "--out", tmp_path / "out")

    assert isinstance(answer.exception, ConfigError)
    assert "nowhere" in str(answer.exception)
    assert not (tmp_path / "store").exists()


def test_a_model_that_cannot_be_loaded_is_told_and_ends_the_database(tmp_path: Path) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    environment = {"PRELABEL_STORE__FOLDER": str(tmp_path / "store")}
    configuration = yaml.safe_load((PRESETS / "demo.yaml").read_text())
    card = {"name": "broken", "task": "ner", "adapter": "token_classification", "weights": str(tmp_path / "nothing")}
    configuration |= {"models": [card], "tasks": {"ner": ["broken"]}}
    config = tmp_path / "prelabel.yaml"
    config.write_text(yaml.safe_dump(configuration))

    answer = annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out", "--config", config)

    assert isinstance(answer.exception, ModelError)
    assert (tmp_path / "store" / "data").exists()
    assert not (tmp_path / "store" / "data" / "postmaster.pid").exists()


def test_a_run_does_not_go_on_with_another_model(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out"))
    other = a_configuration(tmp_path, max_queue=99)

    answer = annotate(environment, "--resume", first["run"], "--config", other)

    assert isinstance(answer.exception, ConfigError)
    assert "changed since it began" in str(answer.exception)
    assert "sentence-tagger@1" in str(answer.exception)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ConfigError, "nothing to label"),
        (["drop"], ConfigError, "give all of"),
        (["drop", "--task", "sums", "--out", "o"], ConfigError, "unknown task 'sums'"),
        (["nowhere", "--task", "ner", "--out", "o"], ConfigError, "nowhere"),
        (["--resume", "nobody"], NotFoundError, "no run 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    arguments: list[str], error: type[Exception], message: str, environment: dict[str, str]
) -> None:
    answer = annotate(environment, *arguments)

    assert isinstance(answer.exception, error)
    assert message in str(answer.exception)


def test_a_folder_with_an_unfinished_run_is_not_written_over(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {f"{n:03}.txt": f"Ada Varga bought {n} books." for n in range(2_000)})
    first, last, ended = _interrupted(drop, tmp_path / "out", environment)

    refused = annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out")
    *_, finished = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out", "--resume", "auto"))

    assert (last["status"], ended) == ("stopped", 130)
    assert isinstance(refused.exception, ConfigError)
    assert "--resume auto" in str(refused.exception)
    assert (finished["run"], finished["finished"]) == (first["run"], 2_000)
    assert finished["stored"] < 2_000  # the rest was there


def _interrupted(drop: Path, out: Path, environment: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """A run that Ctrl-C has ended once some items were done: its first event, its last, and its exit status."""
    command = [sys.executable, "-m", "serving.cli", "annotate", str(drop), "--task", "ner", "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert json.loads(process.stdout.readline())["stored"] > 0
        process.send_signal(signal.SIGINT)
        *_, last = map(json.loads, process.stdout)
    return first, last, process.returncode


def a_configuration(folder: Path, *, max_queue: int) -> Path:
    """The demo's tagger behind a queue of few items, as a configuration file."""
    file = folder / "prelabel.yaml"
    file.write_text(f"""
models:
  - {{name: tagger, task: ner, adapter: token_classification, weights: {DROP.parent / "weights" / "ner"},
     limits: {{max_queue: {max_queue}}}}}
tasks: {{ner: [tagger]}}
policies: {{ner: {{queue: texts, accept_score: 0.8}}}}
""")
    return file


def test_a_short_queue_sheds_nothing_of_a_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path, max_queue=2)

    answer = annotate(environment, TEXTS, "--task", "ner", "--out", tmp_path / "out", "--config", config)

    assert answer.exit_code == 3, answer.output
    failed = [result.error.code for result in list(parquet.read(tmp_path / "out")) if result.error]
    assert failed == ["invalid_text"]


def test_a_run_is_exported_with_what_the_format_cannot_hold_counted(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    (drop / "b.txt").write_bytes(b"caf\xe9")
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out"))
    export = ["export", first["run"], "--out", str(tmp_path / "exported"), "--format"]

    told = ask(environment, *export, "parquet", "--route", "accept", "--route", "review")
    misfit = run.invoke(cli.app, [*export, "webvtt"], env=environment)
    unknown = run.invoke(cli.app, [*export, "paper"], env=environment)

    [exported] = parquet.read(tmp_path / "exported")
    assert exported.id == "a.txt"
    assert told["left_out"] == {"items with another decision": 1}
    assert "did ner; the format 'webvtt' holds speech" in str(misfit.exception)
    assert "unknown format 'paper'" in str(unknown.exception)


def test_a_dry_run_says_what_a_drop_would_come_to_and_stores_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    drop = a_drop(tmp_path / "drop", {f"{n:03}.txt": f"Ada Varga bought {n} books." for n in range(40)})
    (drop / "bad.txt").write_bytes(b"caf\xe9")

    told = ask(environment, "annotate", str(drop), "--task", "ner", "--out", str(tmp_path / "out"), "--dry-run")

    assert (told["items"], told["bad_entries"], told["sampled"]) == (41, 0, 32)
    assert told["accepted"] + told["review"] + sum(told["failed"].values()) == 32
    assert told["seconds"] == pytest.approx(41 / told["items_per_s"])
    assert not (tmp_path / "out").exists()
    assert ask(environment, "runs", "list") == []
