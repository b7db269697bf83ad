"""Checks what the service takes from a profile: never from a stale one, and nothing that the configuration states."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.service import free_port
from models import profile_file, weights
from models.accelerator import accelerator_of
from models.card import BatchLimits, ModelCard
from models.errors import ConfigError
from models.profile_file import Profile
from serving import cli
from serving.demo import DROP
from serving.deployments import actor_options
from serving.doctor import profile_findings
from serving.profiles import gpu_shortage, profiled, taken_over
from serving.settings import Settings, load
from tests.models.profiles import a_profile

run = CliRunner()


def a_card(name: str = "tagger", **changes: object) -> ModelCard:
    card = ModelCard(
        name=name, task="ner", adapter="token_classification", weights=str(DROP.parent / "weights" / "ner")
    )
    return replace(card, **changes)  # pyright: ignore[reportArgumentType]


def a_file(folder: Path, stated: str = "") -> Path:
    """A configuration of the demo's tagger, which states what is given."""
    file = folder / "mine.yaml"
    file.write_text(
        f"models: [{{name: tagger, task: ner, adapter: token_classification, device: cpu, {stated}"
        f" weights: {DROP.parent / 'weights' / 'ner'}}}]\n"
        "tasks: {ner: [tagger]}\npolicies: {ner: {queue: texts, accept_score: 0.8}}\n"
    )
    return file


def a_profile_of(card: ModelCard, **changes: object) -> Profile:
    """Of these bytes on this machine's CPU."""
    here: dict[str, object] = {
        "device": accelerator_of(card).name,
        "weights_digest": weights.find(card).digest,
        "config_digest": card.digest(),
        "num_gpus": None,
    }
    return a_profile(**here | changes)


def measured_settings(file: Path, **changes: object) -> Settings:
    """The settings of a file with a profile of its tagger beside it."""
    settings = load(str(file))
    profile_file.write({"tagger@1": a_profile_of(settings.cards["tagger"], **changes)}, settings.profile_file)
    return settings


def test_a_card_that_states_nothing_gets_what_was_measured() -> None:
    card = taken_over(a_card(), a_profile(), stated=())

    assert (card.limits.max_items, card.limits.max_cost) == (16, 16.0)
    assert actor_options(card) == {"num_cpus": 1.0, "num_gpus": 0.05}


def test_a_profile_of_a_cpu_reserves_no_gpu() -> None:
    assert actor_options(taken_over(a_card(), a_profile(num_gpus=None), stated=()))["num_gpus"] == 0.0


@pytest.mark.parametrize(
    ("stated", "wins"),
    [
        ("num_gpus", {"max_items": 16, "max_cost": 16.0, "num_gpus": 0.0}),
        ("limits.max_items", {"max_items": 7, "max_cost": 16.0, "num_gpus": 0.05}),
        ("limits.max_cost", {"max_items": 16, "max_cost": 3.0, "num_gpus": 0.05}),
    ],
)
def test_what_the_configuration_states_wins(stated: str, wins: dict[str, float]) -> None:
    card = a_card(limits=BatchLimits(max_items=7, max_cost=3.0))

    used = taken_over(card, a_profile(), stated={stated})

    assert {"max_items": used.limits.max_items, "max_cost": used.limits.max_cost, "num_gpus": used.num_gpus} == wins


def test_larger_batches_than_were_recommended_reserve_a_larger_share() -> None:
    card = a_card(limits=BatchLimits(max_cost=160.0))  # 14.4 GiB more, of which the budget is nine tenths

    assert taken_over(card, a_profile(), stated={"limits.max_cost"}).num_gpus == 0.25


def test_batches_without_a_bound_reserve_a_whole_gpu() -> None:
    assert taken_over(a_card(), a_profile(), stated={"limits.max_cost"}).num_gpus == 1.0


def test_the_rest_of_the_card_stays(tmp_path: Path) -> None:
    settings = measured_settings(a_file(tmp_path, "limits: {max_queue: 9},"))

    card = profiled(settings).cards["tagger"]

    assert card == replace(settings.cards["tagger"], limits=BatchLimits(max_items=16, max_cost=16.0, max_queue=9))


def test_a_default_that_the_file_states_wins(tmp_path: Path) -> None:
    settings = measured_settings(a_file(tmp_path, "limits: {max_items: 16},"), max_items=99)

    limits = profiled(settings).cards["tagger"].limits

    assert (limits.max_items, limits.max_cost) == (16, 16.0)


def test_a_card_in_a_file_of_its_own_states_what_is_in_it(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    (tmp_path / "card.yaml").write_text(
        f"{{name: tagger, task: ner, adapter: token_classification, device: cpu, num_gpus: 0,"
        f" weights: {DROP.parent / 'weights' / 'ner'}}}"
    )
    file.write_text("\n".join(["models: [card.yaml]", *file.read_text().splitlines()[1:]]))

    settings = load(str(file))

    assert settings.stated(settings.cards["tagger"]) >= {"num_gpus", "task"}
    assert "limits.max_items" not in settings.stated(settings.cards["tagger"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights_digest": "c" * 64}, "weights cccccccccccc"),
        ({"device": "Some GPU, 80 GiB", "num_gpus": 0.5}, "on Some GPU, 80 GiB"),
        ({"config_digest": "c" * 64}, "card has changed"),
    ],
)
def test_a_stale_profile_is_not_used_and_doctor_says_what_mends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict[str, object], said: str
) -> None:
    settings = measured_settings(a_file(tmp_path), **changed)

    with caplog.at_level(logging.WARNING):
        used = profiled(settings)

    [finding] = profile_findings(settings)
    assert used.cards == settings.cards
    assert finding.state == "note"
    for text in (finding.text, caplog.text):
        assert said in text
        assert "prelabel models profile --model tagger --write" in text


def test_doctor_says_what_a_measured_model_runs_with(tmp_path: Path) -> None:
    [finding] = profile_findings(measured_settings(a_file(tmp_path)))

    assert (finding.subject, finding.state) == ("tagger", "ok")
    assert "batches of 16 items and cost 16" in finding.text


def test_a_file_of_profiles_that_cannot_be_read_is_in_the_way(tmp_path: Path) -> None:
    settings = load(str(a_file(tmp_path)))
    settings.profile_file.write_text("{")

    [finding] = profile_findings(settings)

    assert finding.state == "bad"
    with pytest.raises(ConfigError, match="cannot be used as measured profiles"):
        profiled(settings)


def test_shares_beyond_the_gpus_are_told_with_each_model() -> None:
    cards = [a_card("one", num_gpus=0.6), a_card("two", num_gpus=0.25, replicas=2), a_card("three")]

    shortage = gpu_shortage(cards, gpus=1)

    assert shortage is not None
    assert "reserve 1.1 GPUs (one 0.6, two 0.5), and there are 1;" in shortage


@pytest.mark.parametrize("shares", [[], [1.0], [0.1] * 10, [0.7, 0.2, 0.1]])
def test_shares_of_exactly_one_gpu_fit_on_it(shares: list[float]) -> None:
    assert gpu_shortage([a_card(f"card{n}", num_gpus=share) for n, share in enumerate(shares)], gpus=1) is None


def test_a_model_is_measured_by_command_and_the_next_start_uses_it(tmp_path: Path) -> None:
    config = ["--config", str(a_file(tmp_path)), "--seconds", "1"]

    answer = run.invoke(cli.app, ["models", "profile", *config, "--write", "--json"])

    assert answer.exit_code == 0, answer.output
    [told] = json.loads(answer.stdout)
    settings = load(str(tmp_path / "mine.yaml"))
    limits = profiled(settings).cards["tagger"].limits
    assert told["model"] == "tagger"
    assert (limits.max_items, limits.max_cost) == (told["max_items"], told["max_cost"])
    assert limits != settings.cards["tagger"].limits


def test_a_model_that_cannot_be_measured_costs_no_other_its_profile(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    broken = "{name: broken, task: ner, adapter: token_classification, weights: nowhere}"
    file.write_text(file.read_text().replace("models: [", f"models: [{broken}, "))

    answer = run.invoke(cli.app, ["models", "profile", "--config", str(file), "--seconds", "1", "--write"])

    shown = " ".join(answer.stdout.split())
    assert answer.exit_code == 1
    assert "broken failed no weights at" in shown
    assert "tagger on" in shown
    assert profile_file.read(tmp_path / "mine.profile").keys() == {"tagger@1"}


def test_a_model_that_cannot_be_measured_ends_with_one_and_writes_nothing(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    file.write_text(file.read_text().replace(str(DROP.parent), "/nowhere"))

    answer = run.invoke(cli.app, ["models", "profile", "--config", str(file), "--write"])

    assert answer.exit_code == 1
    assert "no weights at" in " ".join(answer.stdout.split())
    assert not (tmp_path / "mine.profile").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nobody"], "unknown models nobody; configured: tagger"),
        (["--budget-gib", "1", "--memory-share", "0.5"], "give one of them"),
        (["--drop", "/nowhere"], "no folder at"),
    ],
)
def test_what_cannot_be_asked_for_is_said(tmp_path: Path, options: list[str], said: str) -> None:
    answer = run.invoke(cli.app, ["models", "profile", "--config", str(a_file(tmp_path)), *options])

    assert answer.exit_code == 1
    assert said in " ".join(f"{answer.stdout} {answer.exception}".split())


@pytest.mark.ray
def test_shares_beyond_the_gpus_end_the_start_instead_of_waiting(tmp_path: Path, postgres_url: str) -> None:
    file = a_file(tmp_path, "num_gpus: 1000,")
    command = [str(Path(sys.executable).with_name("prelabel")), "serve", "--config", str(file)]
    environment = os.environ | {"PRELABEL_STORE__URL": postgres_url, "PRELABEL_SERVER__PORT": str(free_port())}

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "the models reserve 1000 GPUs (tagger 1000)" in " ".join(ended.stderr.split())
