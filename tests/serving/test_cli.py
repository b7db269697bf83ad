"""Checks the command line as a person meets it: every command explains itself, and failures are sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from serving import cli, demo_command

run = CliRunner()
COMMANDS = [
    *("bench", "demo", "serve", "annotate", "export", "runs", "models", "queue"),
    *("policy", "sample", "corrections", "plant", "key", "doctor", "label-studio", "cvat"),
]


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


def test_the_command_line_starts_without_the_libraries_of_the_service_and_the_models() -> None:
    program = "import sys, serving.cli; print(*{'fastapi', 'ray', 'torch', 'transformers'} & sys.modules.keys())"

    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert imported.stdout.split() == []


def test_an_expected_failure_is_a_sentence_and_ends_with_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["prelabel", "models", "list", "--config", "nowhere.yaml"])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 1
    assert "no configuration at nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "status"), [(["models", "list"], 0), (["models", "list", "--config", "no"], 1)])
def test_a_process_ends_with_its_commands_status_once_all_is_done(arguments: list[str], status: int) -> None:
    program = "import atexit, sys; atexit.register(print, 'last words'); from serving import cli; cli.run()"

    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)

    assert ended.returncode == status
    assert ended.stdout.endswith("last words\n")


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

    with demo_command.demo_settings() as settings:
        assert settings.store.url is None
        assert settings.store.folder.parent.is_dir()
        assert (settings.server.host, settings.server.api_keys) == ("127.0.0.1", ())
    assert not settings.store.folder.parent.exists()
