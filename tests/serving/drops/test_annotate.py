"""Tests 'prelabel annotate' and 'prelabel runs' as their users call them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from models.errors import ConfigError, ModelError
from pipelines.errors import NotFoundError
from pipelines.formats import parquet
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store
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
    started, *_, writing, finished = events(answer)
    files = sorted(file.name for file in TEXTS.iterdir())
    found = list(parquet.read(tmp_path / "out"))
    assert sorted(result.id for result in found) == files
    assert [result.error.code for result in found if result.error] == ["invalid_text"]
    assert (started["event"], writing["event"], finished["event"]) == ("started", "writing", "finished")
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


def test_a_run_that_is_resumed_and_labels_nothing_shows_no_speed(tmp_path: Path, environment: dict[str, str]) -> None:
    drop, out = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."}), tmp_path / "out"
    annotate(environment, drop, "--task", "ner", "--out", out)
    first = speed(out)

    answer = run.invoke(
        cli.app, ["annotate", str(drop), "--task", "ner", "--out", str(out), "--resume", "auto"], env=environment
    )

    assert answer.exit_code == 0, answer.output
    assert float(first) > 0
    assert speed(out) == "–"


def speed(out: Path) -> str:
    """The items/s that a report shows."""
    [found] = re.findall(r'<td data-name="Items/s">(.*?)</td>', (out / "report.html").read_text())
    return found


def test_a_run_over_a_pattern_of_paths_is_resumed_by_its_id(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon.", "b.md": "Nobody there."})
    first, *_ = events(annotate(environment, drop / "*.txt", "--task", "ner", "--out", tmp_path / "out"))

    answer = annotate(environment, "--resume", first["run"])

    assert answer.exit_code == 0, answer.output
    assert events(answer)[-1]["listed"] == 1


def test_a_posted_run_is_shown_and_stopped_and_is_not_resumed_here(
    tmp_path: Path, postgres_url: str, environment: dict[str, str]
) -> None:
    async def post() -> None:
        async with Store.open(postgres_url) as store:
            posted = PostedRuns(store)
            await posted.post("nightly", name="drop", task="ner", source={"drop": str(tmp_path)})
            async with posted.take("nightly", worker="a service") as taken:
                assert taken is not None
                await posted.finish(taken, status="failed", reason="the policy changed")

    asyncio.run(post())

    listed = run.invoke(cli.app, ["runs", "list"], env=environment).output
    shown = run.invoke(cli.app, ["runs", "show", "nightly"], env=environment).output
    resumed = annotate(environment, "--resume", "nightly")
    driven = run.invoke(cli.app, ["runs", "redrive", "nightly", "--code", "timeout"], env=environment)
    waits = ask(environment, "runs", "show", "nightly")
    stopped = run.invoke(cli.app, ["runs", "stop", "nightly"], env=environment)

    assert "service" in listed
    assert "the policy changed" in shown
    assert isinstance(resumed.exception, ConfigError)
    assert "was posted to a service" in str(resumed.exception)
    assert (driven.exit_code, waits["status"], waits["reason"]) == (0, "queued", None)
    assert stopped.exit_code == 0
    assert ask(environment, "runs", "show", "nightly")["status"] == "cancelled"


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


def test_a_run_does_not_go_on_with_other_weights_labels_or_precision_under_the_same_name(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    weights = Path(shutil.copytree(DROP.parent / "weights" / "ner", tmp_path / "weights"))
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    config = a_configuration(tmp_path, weights=weights)
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out", "--config", config))

    def resumed() -> Result:
        return annotate(environment, "--resume", first["run"], "--config", config)

    as_begun = resumed()
    a_configuration(tmp_path, weights=weights, more="labels: {date: when},")
    with_labels = resumed()
    a_configuration(tmp_path, weights=weights)
    parameters = load_file(weights / "model.safetensors")
    parameters["classifier.bias"] += 0.001
    save_file(parameters, weights / "model.safetensors", metadata={"format": "pt"})
    with_weights = resumed()

    assert as_begun.exit_code == 0, as_begun.output
    for answer in (with_labels, with_weights):
        assert isinstance(answer.exception, ConfigError)
        assert "tagger@1 changed since it began" in str(answer.exception)


def test_a_folder_with_a_run_over_another_drop_is_not_gone_on_with(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {"a.txt": "Ada Varga moved to Lisbon."})
    other = a_drop(tmp_path / "other", {"b.txt": "Nobody there."})
    first, *_ = events(annotate(environment, drop, "--task", "ner", "--out", tmp_path / "out"))

    automatic = annotate(environment, other, "--task", "ner", "--out", tmp_path / "out", "--resume", "auto")
    by_id = annotate(environment, other, "--task", "ner", "--out", tmp_path / "out", "--resume", first["run"])

    assert isinstance(automatic.exception, ConfigError)
    assert f"over drop '{drop}'" in str(automatic.exception)
    assert isinstance(by_id.exception, ConfigError)
    assert "give --resume alone" in str(by_id.exception)


def test_a_command_that_is_killed_goes_on_with_what_is_pending(tmp_path: Path, environment: dict[str, str]) -> None:
    drop = a_drop(tmp_path / "drop", {f"{n:04}.txt": f"Ada Varga bought {n} books." for n in range(2_000)})
    command = ["annotate", str(drop), "--task", "ner", "--out", str(tmp_path / "out"), "--resume", "auto", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "serving.cli", *command], stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        assert process.stdout is not None
        started, *_ = (json.loads(line) for line in takewhile(_is_early, process.stdout))
        process.kill()
        assert process.wait() == -signal.SIGKILL

    *_, finished = events(run.invoke(cli.app, command, env=environment))

    assert (finished["run"], finished["status"]) == (started["run"], "done")
    assert (finished["labels"] + finished["nothing_found"], finished["failed"]) == (2_000, 0)
    assert 0 < finished["stored"] < 2_000
    results = [result.id for result in parquet.read(tmp_path / "out")]
    assert len(results) == len(set(results)) == 2_000


def _is_early(line: str) -> bool:
    """Whether an event says that nothing is stored yet."""
    return not json.loads(line).get("stored")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ConfigError, "nothing to label"),
        (["drop", "--task", "ner", "--out", "o", "--dry-run", "--workers", "2"], ConfigError, "leave out --workers"),
        (["--resume", "auto", "--workers", "none"], ConfigError, "a number from 1, or auto; got 'none'"),
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


def a_configuration(
    folder: Path, *, max_queue: int = 256, weights: Path = DROP.parent / "weights" / "ner", more: str = ""
) -> Path:
    """The demo's tagger, or other weights for it, as a configuration file; ``more`` goes into its card."""
    file = folder / "prelabel.yaml"
    file.write_text(f"""
models:
  - {{name: tagger, task: ner, adapter: token_classification, weights: {weights}, {more}
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


IMAGES = DROP / "detection"
SHAPES = """
classes: [{name: round}, {name: angular}]
aliases: [{labels: circle, to: round}]
"""


def a_sloppy_configuration(folder: Path, *, ontology: str = SHAPES, sanity: str = "{sliver_px: 1000}") -> Path:
    """The demo's detector, most of whose labels mean no class, under a rule that every box breaks."""
    folder.mkdir(exist_ok=True)
    (folder / "ontology.yaml").write_text(ontology)
    file = folder / "prelabel.yaml"
    file.write_text(f"""
models: [{DROP.parent / "weights" / "detection" / "card.yaml"}]
tasks: {{detection: [shapes-detector]}}
policies: {{detection: {{queue: images, accept_score: 0.6}}}}
sanity: {sanity}
ontology: ontology.yaml
""")
    return file


def test_findings_and_labels_without_a_class_are_told_to_people_and_machines(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    for name in ("easy_00.jpg", "easy_02.png"):
        (drop / name).write_bytes((IMAGES / name).read_bytes())
    config = ["--config", str(a_sloppy_configuration(tmp_path))]
    order = [str(drop), "--task", "detection", "--out", str(tmp_path / "out"), *config]

    dry = ask(environment, "annotate", *order, "--dry-run")
    said = run.invoke(cli.app, ["annotate", *order], env=environment)
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    *_, finished = events(annotate(environment, "--resume", manifest["run"], *config))
    shown = ask(environment, "runs", "show", manifest["run"], *config)
    shown_to_people = run.invoke(cli.app, ["runs", "show", manifest["run"], *config], env=environment)

    assert said.exit_code == 0, said.output
    [sliver] = [count for count in manifest["findings"] if count["rule"] == "sliver"]
    results = list(parquet.read(tmp_path / "out"))
    boxes = sum(len(result.annotations) for result in results)
    assert (sliver["action"], sliver["findings"], sliver["items"]) == ("flagged", boxes, 2)
    unmapped = {count["label"]: count["annotations"] for count in manifest["unmapped"]}
    kept = [a.label for result in results for a in result.annotations if a.attributes.get("unmapped")]
    assert unmapped == {label: kept.count(label) for label in kept} != {}
    assert "circle" not in unmapped
    for told in (dry, finished, shown):
        assert (told["findings"], told["unmapped"]) == (manifest["findings"], manifest["unmapped"])
    assert f"sliver flagged {boxes}" in said.output
    assert "labels without a class: " in said.output
    assert "sliver" in shown_to_people.output
    assert all(label in shown_to_people.output for label in unmapped)
    assert len(manifest["rules_digest"]) == len(manifest["ontology_digest"]) == 64
    assert {result.provenance and result.provenance.rules_digest for result in results} == {manifest["rules_digest"]}
    assert list(manifest["models"]) == ["shapes-detector@1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sanity": "{sliver_px: 999}"}, "sanity changed since it began"),
        ({"sanity": "{sliver_px: 1000, duplicate: off}"}, "sanity changed since it began"),
        ({"ontology": SHAPES.replace("circle", "square")}, "ontology changed since it began"),
    ],
)
def test_a_run_does_not_go_on_with_other_rules_or_another_ontology(
    tmp_path: Path, environment: dict[str, str], change: dict[str, str], said: str
) -> None:
    drop = a_drop(tmp_path / "drop", {})
    config, other = a_sloppy_configuration(tmp_path / "a"), a_sloppy_configuration(tmp_path / "b", **change)
    same = a_sloppy_configuration(tmp_path / "c", ontology="# the same again\n" + SHAPES)
    (drop / "a.jpg").write_bytes((IMAGES / "easy_00.jpg").read_bytes())
    order = [drop, "--task", "detection", "--out", tmp_path / "out", "--config"]
    first, *_ = events(annotate(environment, *order, config))

    refused = annotate(environment, "--resume", first["run"], "--config", other)
    resumed = annotate(environment, "--resume", first["run"], "--config", same)

    assert isinstance(refused.exception, ConfigError)
    assert said in str(refused.exception)
    assert resumed.exit_code == 0, resumed.output


def test_a_run_does_not_go_on_without_the_ontology_that_it_began_with(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    drop = a_drop(tmp_path / "drop", {})
    (drop / "a.jpg").write_bytes((IMAGES / "easy_00.jpg").read_bytes())
    config = a_sloppy_configuration(tmp_path)
    first, *_ = events(
        annotate(environment, drop, "--task", "detection", "--out", tmp_path / "out", "--config", config)
    )
    config.write_text(config.read_text().replace("ontology: ontology.yaml", ""))

    refused = annotate(environment, "--resume", first["run"], "--config", config)

    assert "ontology changed since it began" in str(refused.exception)


def test_a_wrong_ontology_is_refused_before_anything_is_labelled(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_sloppy_configuration(
        tmp_path, ontology="classes: [{name: round}]\naliases: [{labels: circle, to: rond}]"
    )

    refused = annotate(environment, IMAGES, "--task", "detection", "--out", tmp_path / "out", "--config", config)

    assert isinstance(refused.exception, ConfigError)
    assert "is no class (did you mean 'round'?)" in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_an_exported_run_has_its_categories_in_the_order_of_the_ontology(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    drop = a_drop(tmp_path / "drop", {})
    (drop / "a.jpg").write_bytes((IMAGES / "easy_00.jpg").read_bytes())
    config = a_sloppy_configuration(tmp_path, ontology="classes: [{name: zebra}, {name: circle}, {name: axe}]")
    order = [drop, "--task", "detection", "--out", tmp_path / "out", "--config", config]
    first, *_ = events(annotate(environment, *order))

    ask(environment, "export", first["run"], "--format", "coco", "--out", str(tmp_path / "x"), "--config", str(config))

    exported = json.loads((tmp_path / "x" / "coco.json").read_text())
    names = [category["name"] for category in exported["categories"]]
    assert [category["id"] for category in exported["categories"]] == list(range(1, len(names) + 1))
    assert names[:3] == ["zebra", "circle", "axe"]
    assert names[3:] == sorted(names[3:])
    by_id = {category["id"]: category["name"] for category in exported["categories"]}
    [result] = parquet.read(tmp_path / "out")
    assert [by_id[found["category_id"]] for found in exported["annotations"]] == [a.label for a in result.annotations]
    assert len(exported["annotations"]) > 1
