"""Checks the command line as a person meets it: every command explains itself, and failures are sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipelines.errors import StoreUnavailableError
from pipelines.formats import results
from pipelines.store.store import Store
from serving import cli
from serving.demo import DROP

run = CliRunner()
COMMANDS = ["bench", "demo", "serve", "annotate", "models", "queue", "key", "doctor"]


@pytest.fixture
def environment(postgres_url: str) -> dict[str, str]:
    return {"PRELABEL_STORE__URL": postgres_url}


def test_the_commands_are_these_and_each_explains_itself() -> None:
    listed = get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]

    assert sorted(listed) == sorted(COMMANDS)
    for name in COMMANDS:
        answer = run.invoke(cli.app, [name, "--help"])
        assert answer.exit_code == 0
        assert listed[name].help


def test_an_expected_failure_is_a_sentence_and_ends_with_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["prelabel", "models", "list", "--config", "nowhere.yaml"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 1
    assert "no configuration at nowhere.yaml" in capsys.readouterr().err


def test_a_folder_of_texts_is_annotated_without_a_service(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = ["annotate", str(DROP / "ner"), "--task", "ner", "--out", str(tmp_path / "out"), "--json"]

    answer = run.invoke(cli.app, arguments, env=environment)

    assert answer.exit_code == 0, answer.output
    [numbers] = json.loads(answer.stdout)["tasks"]
    found = results.read(tmp_path / "out" / "results.jsonl")
    files = sorted(file.name for file in (DROP / "ner").iterdir())
    assert [result.id for result in found] == files
    assert numbers["items"] == len(files)
    assert numbers["failed"] == sum(result.status == "failed" for result in found) == 1
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    [queue] = json.loads(run.invoke(cli.app, ["queue", "--json"], env=environment).stdout)
    assert queue["pending"] == numbers["review"] > 0


def test_the_demo_models_are_as_locked() -> None:
    listed = json.loads(run.invoke(cli.app, ["models", "list", "--config", "demo", "--json"]).stdout)

    assert {model["task"] for model in listed} == {"detection", "segmentation", "ner", "speech"}
    assert all(model["weights"].endswith("as locked") for model in listed)


def test_pull_locks_local_weights_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"bytes")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models: [{name: tagger, task: ner, adapter: token_classification, weights: weights}]\n"
        "tasks: {ner: [tagger]}\npolicies: {ner: {queue: texts, accept_score: 0.8}}\n"
    )

    pulled = run.invoke(cli.app, ["models", "pull", "--config", str(file)])
    listed = json.loads(run.invoke(cli.app, ["models", "list", "--config", str(file), "--json"]).stdout)

    assert pulled.exit_code == 0
    assert (tmp_path / "mine.lock").exists()
    assert listed[0]["weights"].endswith("as locked")


def test_doctor_finds_what_is_wrong(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models: [{name: tagger, task: ner, adapter: token_classification, weights: nowhere}]\n"
        "tasks: {ner: [tagger]}\npolicies: {ner: {queue: texts, accept_score: 0.8}}\n"
    )

    answer = run.invoke(cli.app, ["doctor", "--config", str(file), "--json"], env=environment)

    findings = {finding["subject"]: finding for finding in json.loads(answer.stdout)}
    assert answer.exit_code == 1
    assert findings["tagger"]["state"] == "bad"
    assert "no weights at" in findings["tagger"]["text"]
    assert findings["store"]["state"] == "ok"


def test_a_new_key_admits_with_its_line() -> None:
    from serving.auth import KeyRing

    made = json.loads(run.invoke(cli.app, ["key", "--json"]).stdout)

    KeyRing([made["config_line"]]).check(authorization=f"Bearer {made['key']}", x_api_key=None)


def test_the_demo_leaves_the_real_store_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STORE__URL": "postgresql://real/labels", "SERVER__HOST": "::1", "SERVER__PORT": "9"}.items():
        monkeypatch.setenv(f"PRELABEL_{name}", value)

    with cli._demo_settings() as settings:
        assert settings.store.url is None
        assert settings.store.folder.parent.is_dir()
        assert (settings.server.host, settings.server.api_keys) == ("127.0.0.1", ())
    assert not settings.store.folder.parent.exists()


def _a_short_queue(tmp_path: Path, *, max_queue: int) -> str:
    """The demo's tagger behind a queue of few items, as a configuration file."""
    weights = DROP.parent / "weights" / "ner"
    file = tmp_path / "prelabel.yaml"
    file.write_text(f"""
models:
  - {{name: tagger, task: ner, adapter: token_classification, weights: {weights}, limits: {{max_queue: {max_queue}}}}}
tasks: {{ner: [tagger]}}
policies: {{ner: {{queue: texts, accept_score: 0.8}}}}
""")
    return str(file)


def test_a_short_queue_sheds_nothing_of_a_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    config = _a_short_queue(tmp_path, max_queue=2)
    arguments = ["annotate", str(DROP / "ner"), "--task", "ner", "--out", str(tmp_path / "out"), "--config", config]

    answer = run.invoke(cli.app, arguments, env=environment)

    assert answer.exit_code == 0, answer.output
    failed = [result.error.code for result in results.read(tmp_path / "out" / "results.jsonl") if result.error]
    assert failed == ["invalid_text"]


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_store_that_goes_away_under_a_folder_is_an_expected_failure(
    comes_back: bool,
    tmp_path: Path,
    environment: dict[str, str],
    block_database: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocked = list[bool]()

    async def save(self: Store, *_: object, **__: object) -> None:
        if not blocked:
            blocked.append(True)
            block_database(True)
            assert not await self.is_reachable()
            block_database(not comes_back)
        raise StoreUnavailableError

    monkeypatch.setattr(Store, "save", save)
    arguments = ["annotate", str(DROP / "ner"), "--task", "ner", "--out", str(tmp_path / "out")]
    try:
        answer = run.invoke(cli.app, arguments, env=environment)
    finally:
        block_database(False)

    assert blocked
    assert isinstance(answer.exception, StoreUnavailableError)  # which main prints as a sentence
