"""Tests 'prelabel sample' as its users call it, over a small run of demo texts whose model embeds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from models.errors import ConfigError
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from serving import cli
from serving.demo import DROP

run = CliRunner()
WEIGHTS = DROP.parent / "weights" / "ner"


@pytest.fixture
def environment(postgres_url: str) -> dict[str, str]:
    return {"PRELABEL_STORE__URL": postgres_url}


def a_configuration(folder: Path, *, embeddings: bool = True) -> Path:
    """The demo's tagger, which embeds texts, under a policy that accepts whatever it says."""
    file = folder / f"embeddings-{embeddings}.yaml"
    file.write_text(f"""
models:
  - {{name: tagger, task: ner, adapter: token_classification, weights: {WEIGHTS},
     embeddings: {str(embeddings).lower()}}}
tasks: {{ner: [tagger]}}
policies: {{ner: {{queue: texts, accept_score: 0.0, accept_nothing_found: 0.0}}}}
""")
    return file


def a_manifest(folder: Path) -> Path:
    """The readable texts of the sample drop, from two sources in turn."""
    file = folder / "manifest.jsonl"
    texts = [path for path in sorted((DROP / "ner").iterdir()) if path.name != "latin1.txt"]
    rows = [
        {"id": path.name, "text": path.read_text(), "source": ("mail", "web")[number % 2]}
        for number, path in enumerate(texts)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def annotated(folder: Path, environment: dict[str, str], config: Path) -> tuple[str, int]:
    """The id of a run over the texts, and how many they are."""
    arguments = ["annotate", a_manifest(folder), "--task", "ner", "--out", folder / "out", "--config", config, "--json"]
    answer = run.invoke(cli.app, [*map(str, arguments)], env=environment)
    assert answer.exit_code == 0, answer.output
    finished = json.loads(answer.stdout.splitlines()[-1])
    return finished["run"], finished["finished"]


def sample(environment: dict[str, str], config: Path, *arguments: object) -> Result:
    return run.invoke(cli.app, ["sample", *map(str, arguments), "--config", str(config)], env=environment)


def sampled(environment: dict[str, str], config: Path, *arguments: object) -> dict[str, Any]:
    answer = sample(environment, config, *arguments, "--json")
    assert answer.exit_code == 0, (answer.output, answer.exception)
    return json.loads(answer.stdout)


def queues(environment: dict[str, str], config: Path) -> list[dict[str, Any]]:
    return json.loads(run.invoke(cli.app, ["queue", "--json", "--config", str(config)], env=environment).stdout)


def test_a_run_is_sampled_by_its_models_embeddings_and_queued_once(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path)
    run_id, items = annotated(tmp_path, environment, config)
    assert queues(environment, config) == []
    asked = (run_id, "--budget", 8, "--explore", 0.25, "--sample", "monday", "--seed", 5)

    trial = sampled(environment, config, *asked, "--dry-run")
    nothing = queues(environment, config)
    first, second = (sampled(environment, config, *asked) for _ in range(2))

    assert nothing == []
    assert first == second
    assert [one["id"] for one in trial["items"]] == [one["id"] for one in first["items"]]
    assert (first["run"], first["task"], first["strategy"], first["queued"]) == (run_id, "ner", "hybrid", 8)
    assert [one["propensity"] for one in first["items"]] == [2 / items] * 2 + [None] * 6
    assert [one["reason"].partition(":")[0] for one in first["items"]] == ["explore"] * 2 + ["hybrid"] * 6
    assert first["parameters"]["embeddings"].startswith("tagger@1:")
    assert first["parameters"]["items"] == items
    [queue] = queues(environment, config)
    assert (queue["name"], queue["pending"]) == ("texts", 8)


def test_slices_quotas_and_a_radius_are_taken_from_the_command_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    config = a_configuration(tmp_path)
    run_id, _ = annotated(tmp_path, environment, config)
    plain = (run_id, "--explore", 0, "--dry-run", "--seed", 1)

    quota = sampled(environment, config, *plain, "--budget", 12, "--group-by", "source", "--quota", "mail=2")
    even = sampled(environment, config, *plain, "--budget", 6, "--group-by", "source", "--strategy", "stratified")
    apart = sampled(environment, config, *plain, "--budget", 20, "--radius", 1e6)
    cheap = sampled(environment, config, *plain, "--budget", 20, "--strategy", "cost_aware", "--most-cost", 5)
    everywhere = sampled(environment, config, "--task", "ner", "--budget", 3, "--strategy", "random", "--dry-run")

    rows = map(json.loads, a_manifest(tmp_path).read_text().splitlines())
    sources = {row["id"]: row["source"] for row in rows}
    assert sum(sources[one["id"]] == "mail" for one in quota["items"]) == 2
    assert len(quota["items"]) == 12
    assert sorted(sources[one["id"]] for one in even["items"]) == ["mail"] * 3 + ["web"] * 3
    assert len(apart["items"]) == 1  # nothing is that far from the first
    assert 0 < len(cheap["items"]) <= 5
    assert (everywhere["run"], len(everywhere["items"]), everywhere["queued"]) == (None, 3, 0)


def test_a_person_is_told_what_was_chosen_and_why(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path)
    run_id, items = annotated(tmp_path, environment, config)

    few = sample(environment, config, run_id, "--budget", 2, "--queue", "mine")
    many = sample(environment, config, run_id, "--budget", 500)

    assert few.exit_code == many.exit_code == 0
    assert "most uncertain open items" in " ".join(few.output.split())
    assert "2 reviews queued in 'mine'" in few.output
    assert f"and {items - 20} more" in many.output
    assert f"{items} of 500" in many.output
    assert {queue["name"]: queue["pending"] for queue in queues(environment, config)} == {"mine": 2, "texts": items - 2}


def test_without_embeddings_the_default_says_what_to_do(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path, embeddings=False)
    run_id, items = annotated(tmp_path, environment, config)

    refused = sample(environment, config, run_id, "--budget", 3)
    by_score = sampled(environment, config, run_id, "--budget", 3, "--strategy", "least_confidence")

    assert isinstance(refused.exception, InvalidRequestError)
    assert f"{items} of {items} have none; set 'embeddings: true'" in refused.exception.message
    assert len(by_score["items"]) == 3


def test_what_cannot_be_meant_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path)

    def refusal(*arguments: object) -> BaseException | None:
        return sample(environment, config, "--budget", 3, *arguments).exception

    assert isinstance(refusal("none"), NotFoundError)
    assert isinstance(refusal("--task", "music"), ConfigError)
    assert isinstance(refusal("--task", "ner", "--quota", "mail"), ConfigError)
    assert "unknown strategy 'best'" in str(refusal("--task", "ner", "--strategy", "best"))
    assert "name a task" in str(refusal())
    assert sample(environment, config, "--budget", 0).exit_code == 2


def test_an_id_of_another_sample_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    config = a_configuration(tmp_path)
    asked = ("--task", "ner", "--strategy", "random", "--sample", "monday", "--seed", 1)
    sampled(environment, config, *asked, "--budget", 3)

    other = sample(environment, config, *asked, "--budget", 4)

    assert isinstance(other.exception, ConflictError)
    assert "take another id" in other.exception.message
