"""Checks that configuration is read from one place and refused with a sentence."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from models.errors import ConfigError, PrelabelError
from pipelines.ontology import Class, Ontology
from pipelines.sanity import SanityRules
from serving import settings as configuration
from serving.settings import load, with_changes

MINIMAL = """
models:
  - {name: tagger, task: ner, adapter: token_classification, weights: weights}
tasks: {ner: [tagger]}
policies: {ner: {queue: texts, accept_score: 0.8}}
"""


def a_file(tmp_path: Path, content: str) -> str:
    file = tmp_path / "prelabel.yaml"
    file.write_text(content)
    return str(file)


def test_weights_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    settings = load(a_file(tmp_path, MINIMAL))

    assert settings.cards["tagger"].weights == str(tmp_path / "weights")
    assert settings.lock_file == tmp_path / "prelabel.lock"


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELABEL_SERVER__PORT", "9001")

    assert load(a_file(tmp_path, MINIMAL + "server: {port: 8001}")).server.port == 9001


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("colour: red", "colour"),
        ("server: {porty: 1}", "server.porty"),
        ("server: {port: 99999}", "server.port"),
        ("tasks: {ner: [nobody]}", "unknown models"),
        ("policies: {}", "policy"),
        ("server: {host: 0.0.0.0}", "needs api_keys"),
        ("server: {api_keys: [secret]}", "not 'id:sha256'"),
        ("tasks: {speech: [tagger]}", "needs at least one model and a policy"),
        ("tasks: {ner: [tagger, tagger]}", "is done by models for ner; its models are for ner → ner"),
        ("policies: {ner: {queue: texts, accept_score: .nan}}", "accept_score"),
        ("policies: {ner: {queue: texts, accept_score: -1}}", "accept_score"),
        ("fetch: {max_bytes: -5}", "max_bytes"),
        ("media: {max_pixels: 0}", "max_pixels"),
        ("sanity: {slivers: fix}", "sanity.slivers"),
        ("sanity: {sliver: remove}", "sanity.sliver"),
        ("sanity: {sliver_px: -1}", "sanity.sliver_px"),
        ("ontology: nowhere.yaml", "nowhere.yaml cannot be read"),
        ("ontology: {classes: [{name: car}]}", "wanted the path of an ontology's file; got dict"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, change: str, said: str) -> None:
    key = change.partition(":")[0]
    kept = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(f"{key}:"))

    with pytest.raises(ConfigError, match=said):
        load(a_file(tmp_path, f"{kept}\n{change}\n"))


def an_ontology(folder: Path, content: str = "classes: [{name: person}, {name: place}]") -> Path:
    (folder / "ontology.yaml").write_text(content)
    return folder / "ontology.yaml"


def test_rules_are_switched_off_and_keep_their_defaults_elsewhere(tmp_path: Path) -> None:
    settings = load(a_file(tmp_path, MINIMAL + "sanity: {sliver: off, duplicate: flag, sliver_px: 3}\n"))

    assert settings.sanity == SanityRules(sliver="off", duplicate="flag", sliver_px=3.0)
    assert settings.standards.rules_off("detection") == ["sliver", "tiny_box"]
    assert load(a_file(tmp_path, MINIMAL)).sanity == SanityRules()


def test_an_ontology_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    an_ontology(tmp_path)

    settings = load(a_file(tmp_path, MINIMAL + "ontology: ontology.yaml\n"))

    assert settings.standards.ontology == Ontology(classes=(Class(name="person"), Class(name="place")))
    assert load(a_file(tmp_path, MINIMAL)).ontology is None


def test_the_environment_overrides_rules_and_ontology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    file = a_file(tmp_path, MINIMAL + f"ontology: {an_ontology(tmp_path)}\nsanity: {{sliver: off, duplicate: flag}}\n")
    monkeypatch.setenv("PRELABEL_SANITY__SLIVER", "fix")
    monkeypatch.setenv("PRELABEL_ONTOLOGY", str(an_ontology(tmp_path / "other", "classes: [{name: thing}]")))

    settings = load(file)

    assert settings.sanity == SanityRules(sliver="fix", duplicate="flag")
    assert settings.ontology == Ontology(classes=(Class(name="thing"),))


def test_an_ontology_travels_with_the_settings_to_where_its_file_is_not(tmp_path: Path) -> None:
    file = an_ontology(tmp_path)
    sent = pickle.dumps(load(a_file(tmp_path, MINIMAL + "ontology: ontology.yaml\n")))
    file.unlink()

    arrived = pickle.loads(sent)  # noqa: S301 - our own, as Ray does

    assert arrived.standards.ontology.has("place")


def test_what_is_wrong_with_an_ontology_is_said_when_the_configuration_is_read(tmp_path: Path) -> None:
    an_ontology(tmp_path, "classes: [{name: car}, {name: car}]\naliases: [{labels: auto, to: cat}]")

    with pytest.raises(ConfigError, match=r"ontology\.yaml cannot be used: class 'car' is given twice; .*did you mean"):
        load(a_file(tmp_path, MINIMAL + "ontology: ontology.yaml\n"))


def test_a_limit_that_lets_nothing_through_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrelabelError, match="max_items"):
        load(a_file(tmp_path, MINIMAL.replace("weights: weights}", "weights: weights, limits: {max_items: 0}}")))


def test_a_configuration_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown models"):
        load(a_file(tmp_path, "models:\n" + "\n".join(MINIMAL.splitlines()[3:])))


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path))


def test_a_lock_file_may_be_named_and_home_is_understood(tmp_path: Path) -> None:
    settings = load(a_file(tmp_path, MINIMAL + "lock_file: own.lock\nfetch: {roots: [~/data]}\n"))

    assert settings.lock_file.name == "own.lock"
    assert settings.fetch.roots == (Path("~/data").expanduser(),)
    assert settings.store.folder == Path("~/.prelabel/store").expanduser()


@pytest.mark.parametrize("content", ["[1, 2]", "just words", "a: [", ""])
def test_what_is_not_a_configuration_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match=r"prelabel\.yaml"):
        load(a_file(tmp_path, content))


def test_a_missing_file_names_the_presets() -> None:
    with pytest.raises(ConfigError, match="demo, gpu"):
        load("nowhere.yaml")


@pytest.mark.parametrize("preset", ["demo", "gpu"])
def test_the_presets_load(preset: str) -> None:
    settings = load(preset)

    assert set(settings.tasks) == {"detection", "segmentation", "ner", "speech"}


def test_without_a_file_the_demo_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load() == load("demo")


def test_a_change_is_checked_like_a_file() -> None:
    settings = load("demo")

    assert with_changes(settings, "server", port=1234).server.port == 1234
    with pytest.raises(ValueError, match="api_keys"):
        with_changes(settings, "server", host="0.0.0.0")  # noqa: S104
    assert configuration.PRESETS.is_dir()
