"""Checks the bench commands as a person runs them, on the demo's tagger with few items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.scenarios.report import read
from benchmarks.scenarios.target import Settings
from models.errors import ConfigError, PrelabelError
from serving import cli

run = CliRunner()
QUICK = ["--config", "demo", "--items", "12", "--repeats", "4", "--warm-up", "4", "--seed", "1"]


def bench(scenario: str, *arguments: str) -> dict[str, Any]:
    answer = run.invoke(cli.app, ["bench", scenario, *QUICK, *arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_single_stream_reports_one_item_at_a_time() -> None:
    report = bench("single-stream", "--task", "ner")

    [point] = report["points"]
    assert point["work"]["sentence-tagger"]["batch_sizes"] == {"1": 4 * 12}
    assert len(point["slices"]) == 4
    assert all(part["latency_p50_s"] > 0 for part in point["slices"])
    assert {"prepare", "forward", "read"} == point["work"]["sentence-tagger"]["busy_s"].keys()


def test_server_sweeps_the_given_rates() -> None:
    report = bench("server", "--task", "ner", "--rate", "200", "--rate", "100", "--deadline-s", "10")

    assert [point["rate_per_s"] for point in report["points"]] == [100.0, 200.0]
    assert all(part["in_time"] is not None for point in report["points"] for part in point["slices"])


def test_offline_sweeps_batch_limits_and_writes_everything(tmp_path: Path) -> None:
    arguments = ["--task", "ner", "--batch-limit", "1", "--batch-limit", "4", "--out", str(tmp_path / "out")]

    report = bench("offline", *arguments)

    one, four = report["points"]
    assert one["work"]["sentence-tagger"]["batch_sizes"] == {"1": 4 * 12}
    assert max(map(int, four["work"]["sentence-tagger"]["batch_sizes"])) == 4
    assert json.loads(read(tmp_path / "out" / "report.json").json()) == report
    assert (tmp_path / "out" / "throughput.png").exists()


def test_the_table_is_for_people() -> None:
    answer = run.invoke(cli.app, ["bench", "offline", *QUICK, "--model", "sentence-tagger"], env={"COLUMNS": "80"})

    assert answer.exit_code == 0, answer.output
    assert "offline · ner · sentence-tagger@1 · engine" in answer.stdout
    assert "n = 4 × 12 items" in answer.stdout


def test_random_weights_need_no_weights_on_disk(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("""
models:
  - name: tagger
    task: ner
    adapter: token_classification
    weights: nowhere
    architecture: {model_type: bert, vocab_size: 2000, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
                   intermediate_size: 64}
tasks: {ner: [tagger]}
policies: {ner: {queue: texts, accept_score: 0.8}}
""")

    report = bench("offline", "--task", "ner", "--random-weights", "--config", str(tmp_path / "mine.yaml"))

    assert report["models"][0]["weights_digest"] == "random"
    assert report["inputs"]["what"].startswith("generated texts")
    assert any("random weights" in note for note in report["notes"])


def test_two_reports_are_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        bench("offline", "--task", "ner", "--out", str(tmp_path / name))

    answer = run.invoke(cli.app, ["bench", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"])

    [change] = json.loads(answer.stdout)["changes"]
    assert change["figure"] == "items/s"
    assert change["verdict"] in ("better", "worse", "no difference beyond noise")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["offline"], "give either --task"),
        (["offline", "--task", "ner", "--model", "sentence-tagger"], "give either --task"),
        (["offline", "--model", "sam9"], "unknown model 'sam9'"),
        (["offline", "--task", "tea"], "task 'tea' is not configured"),
        (["offline", "--model", "sentence-tagger", "--target", "service"], "--model is for the engine"),
        (["offline", "--task", "ner", "--target", "service", "--random-weights"], "are for the engine"),
        (["offline", "--task", "ner", "--target", "service", "--batch-limit", "4"], "--batch-limit is for the engine"),
        (["server", "--task", "ner", "--find-max-rate"], "give one with --deadline-s"),
    ],
)
def test_what_goes_against_itself_is_refused(arguments: list[str], message: str) -> None:
    answer = run.invoke(cli.app, ["bench", *arguments, "--config", "demo"])

    assert isinstance(answer.exception, ConfigError)
    assert message in answer.exception.message


def test_an_address_where_nobody_answers_is_an_expected_failure() -> None:
    arguments = ["bench", "offline", "--task", "ner", "--config", "demo", "--address", "http://127.0.0.1:9"]

    answer = run.invoke(cli.app, arguments)

    assert isinstance(answer.exception, PrelabelError)
    assert answer.exception.code == "no_service"


def test_the_settings_of_the_command_line_are_what_a_benchmark_needs() -> None:
    settings: Settings = cli.configuration.load("demo")

    assert settings.tasks["ner"] == ("sentence-tagger",)
