"""Checks that labels become classes, that none disappears unseen, and that a wrong ontology says what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from models.types import Annotation, AttributeValue, Box, Prediction, Task, TextSpan, TimeSpan, WholeItem
from pipelines.ontology import Alias, Attribute, Class, Ontology, apply, read
from pipelines.sanity import SanityRules, check

STREET = """
classes:
  - {name: vehicle, attributes: {occluded: {type: boolean}}}
  - {name: car, id: 1, colour: "#3366cc", parent: vehicle, attributes: {doors: {values: [2, 4]}}}
  - {name: van, parent: car}
  - {name: person, id: 2, description: on foot}
  - {name: speech}
  - {name: other, attributes: {}}
aliases:
  - {labels: [auto, automobile], to: car}
  - {labels: PER, to: person, task: ner}
  - {labels: "3", to: car, model: old-detector}
exclusive:
  - [vehicle, person]
abstain: other
"""


def a_file(folder: Path, content: str) -> Path:
    file = folder / "ontology.yaml"
    file.write_text(content, encoding="utf-8")
    return file


def street(**changes: Any) -> Ontology:
    settings: dict[str, Any] = {
        "classes": (
            Class(name="vehicle", attributes={"occluded": Attribute(type="boolean")}),
            Class(name="car", id=1, parent="vehicle", attributes={"doors": Attribute(values=(2, 4))}),
            Class(name="person", id=2),
            Class(name="other", attributes={}),
        ),
        "aliases": (Alias(labels=("auto", "automobile"), to="car"),),
        "abstain": "other",
    }
    return Ontology(**(settings | changes))


def an(
    annotation_id: str,
    label: str,
    *,
    score: float = 0.9,
    attributes: dict[str, AttributeValue] | None = None,
    of: str | None = None,
) -> Annotation:
    box = Box(xyxy=(0, 0, 9, 9))
    return Annotation(
        id=annotation_id, label=label, geometry=box, score=score, attributes=attributes or {}, parent_id=of
    )


def a_prediction(*annotations: Annotation, **signals: float) -> Prediction:
    return Prediction(annotations=annotations, signals=signals)


def labels(prediction: Prediction) -> list[str]:
    return [annotation.label for annotation in prediction.annotations]


# ---- files


def test_a_file_says_what_there_is(tmp_path: Path) -> None:
    ontology = read(a_file(tmp_path, STREET))

    assert [own.name for own in ontology.classes] == ["vehicle", "car", "van", "person", "speech", "other"]
    assert ontology.classes[1].colour == "#3366cc"
    assert ontology.ancestors("van") == ("car", "vehicle")
    assert ontology.class_of("automobile", task="detection") == "car"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("classes: [{name: car, color: red}]", "classes.0.color: unknown key"),
        ("classes: [{name: car}]\nalias: []", "alias: unknown key"),
        ("classes: [{name: car}]\naliases: [{label: auto, to: car}]", "aliases.0.label: unknown key"),
        ("classes: [{name: no}]", "classes.0.name: Input should be a valid string; got False; names such as no"),
        ("classes: [{name: car, colour: red}]", "classes.0.colour"),
        ("classes: [{name: ' car'}]", "classes.0.name: a name must not be empty, nor begin or end in white space"),
        (
            "classes: [{name: car, attributes: {doors: {}}}]",
            "classes.0.attributes.doors: an attribute has either values",
        ),
        ("classes: []", "an ontology needs classes"),
        ("aliases: []", "classes"),
        ("- car", "got list"),
        ("", "got NoneType"),
        ("classes: [{name: car, name: van}]", "the key 'name' comes twice"),
        ("classes: [car", "is not YAML"),
        ("classes: [{name: car}, {name: car}]", "class 'car' is given twice"),
        ("classes: [{name: car, id: 1}, {name: van, id: 1}]", "more than one class has the id 1"),
        (
            "classes: [{name: vehicle}, {name: car, parent: vehicel}]",
            "the parent of 'car', 'vehicel', is no class (did you mean 'vehicle'?)",
        ),
        (
            "classes: [{name: a, parent: b}, {name: b, parent: c}, {name: c, parent: a}]",
            "classes descend from each other: a → b → c → a",
        ),
        ("classes: [{name: car, parent: car}]", "classes descend from each other: car → car"),
        ("classes: [{name: car}]\naliases: [{labels: auto, to: kar}]", "['auto'] mean, 'kar', is no class"),
        (
            "classes: [{name: car}, {name: van}]\naliases: [{labels: auto, to: car}, {labels: auto, to: van}]",
            "the label 'auto' of any model is an alias of 'car' and 'van'",
        ),
        (
            "classes: [{name: car}]\naliases: [{labels: [x, x], to: car, model: m, task: ner}]",
            "the label 'x' of the model 'm' for ner is an alias of 'car' twice",
        ),
        (
            "classes: [{name: car}, {name: van}]\naliases: [{labels: van, to: car}]",
            "'van' is a class and cannot be an alias of 'car' for every model",
        ),
        ("classes: [{name: car}]\nexclusive: [[car]]", "an exclusive group needs two classes or more, not ['car']"),
        ("classes: [{name: a}, {name: b}]\nexclusive: [[a, b, a]]", "an exclusive group names 'a' twice"),
        ("classes: [{name: a}, {name: b}]\nexclusive: [[a, c]]", "a member of an exclusive group, 'c', is no class"),
        (
            "classes: [{name: a}, {name: b, parent: a}]\nexclusive: [[a, b]]",
            "'b' is a kind of 'a', so that they cannot exclude each other",
        ),
        ("classes: [{name: a}]\nabstain: b", "the abstain class, 'b', is no class"),
        ("classes: [{name: a}]\nunmapped: abstain", "name it in abstain"),
        ("classes: [{name: a}]\nunmapped: ignore", "unmapped: Input should be 'keep', 'abstain' or 'drop'"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_s_name(tmp_path: Path, content: str, said: str) -> None:
    file = a_file(tmp_path, content)

    with pytest.raises(ConfigError) as raised:
        read(file)

    assert said in raised.value.message
    assert str(file) in raised.value.message


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = a_file(tmp_path, "classes: [{name: a, parent: b}, {name: a}]\nabstain: c")

    with pytest.raises(ConfigError, match=r"'a' is given twice.*the parent of 'a'.*the abstain class") as raised:
        read(file)

    assert raised.value.code == "bad_config"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_wrong_configuration(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / name)


def test_a_file_in_another_encoding_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("classes: [{name: Tür}]".encode("latin-1"))

    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "latin.yaml")


def test_yaml_s_own_way_to_share_keys_is_understood(tmp_path: Path) -> None:
    shared = "classes:\n  - &base {name: a, colour: '#000000'}\n  - {<<: *base, name: b}\n"

    assert read(a_file(tmp_path, shared)).classes[1] == Class(name="b", colour="#000000")


keys = st.sampled_from(["classes", "name", "aliases", "labels", "to", "exclusive", "parent"])
contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(contents)
def test_any_yaml_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    file = a_file(tmp_path_factory.mktemp("ontology"), yaml.safe_dump(content, allow_unicode=True))

    try:
        assert read(file).classes
    except ConfigError as err:
        assert str(file) in err.message


# ---- labels


def test_labels_become_classes_and_all_else_stays() -> None:
    prediction = a_prediction(an("0", "auto"), an("1", "person"), an("2", "automobile"), min_score=0.9)

    mapped = apply(prediction, street(), "detection")

    assert labels(mapped.prediction) == ["car", "person", "car"]
    assert mapped.prediction.signals == {"min_score": 0.9}
    assert [a.id for a in mapped.prediction.annotations] == ["0", "1", "2"]
    assert (mapped.unmapped, mapped.not_allowed) == (Counter(), ())


def test_a_label_without_a_class_is_kept_marked_and_counted() -> None:
    mapped = apply(a_prediction(an("0", "zebra", attributes={"doors": 3}), an("1", "zebra")), street(), "detection")

    assert labels(mapped.prediction) == ["zebra", "zebra"]
    assert mapped.prediction.annotations[0].attributes == {"doors": 3, "unmapped": True}
    assert mapped.unmapped == {"zebra": 2}


def test_a_label_without_a_class_may_go_to_the_abstain_class() -> None:
    mapped = apply(a_prediction(an("0", "zebra")), street(unmapped="abstain"), "detection")

    assert labels(mapped.prediction) == ["other"]
    assert mapped.prediction.annotations[0].attributes == {"unmapped": True, "model_label": "zebra"}
    assert (mapped.unmapped, mapped.not_allowed) == ({"zebra": 1}, ())


def test_a_label_without_a_class_may_be_dropped_and_is_counted_still() -> None:
    prediction = a_prediction(an("0", "zebra", score=0.2), an("1", "auto"), min_score=0.2, no_miss=0.7)

    mapped = apply(prediction, street(unmapped="drop"), "detection")

    assert labels(mapped.prediction) == ["car"]
    assert mapped.prediction.signals == {"min_score": 0.9, "no_miss": 0.7}
    assert mapped.unmapped == {"zebra": 1}


def test_the_parts_of_a_dropped_annotation_stand_alone() -> None:
    prediction = a_prediction(an("0", "group"), an("1", "person", of="0"), an("2", "auto", of="1"))

    mapped = apply(prediction, street(unmapped="drop"), "detection")

    assert [(a.id, a.parent_id) for a in mapped.prediction.annotations] == [("1", None), ("2", "1")]


def test_when_all_is_dropped_nothing_is_found() -> None:
    mapped = apply(a_prediction(an("0", "zebra"), min_score=0.9), street(unmapped="drop"), "detection")

    assert (mapped.prediction.status, mapped.prediction.signals) == ("nothing_found", {})


def test_labels_of_texts_and_of_speech_are_mapped_too() -> None:
    ontology = Ontology(
        classes=(Class(name="person"), Class(name="utterance")),
        aliases=(Alias(labels=("PER",), to="person", task="ner"), Alias(labels=("speech",), to="utterance")),
    )
    name = Annotation(id="0", label="PER", geometry=TextSpan(start=0, end=3), score=0.9, text="Ada")
    said = Annotation(id="0", label="speech", geometry=TimeSpan(start_s=0, end_s=1), score=0.9, text="hello")

    assert labels(apply(a_prediction(name), ontology, "ner").prediction) == ["person"]
    assert labels(apply(a_prediction(said), ontology, "speech").prediction) == ["utterance"]
    assert apply(a_prediction(name), ontology, "detection").unmapped == {"PER": 1}


@pytest.mark.parametrize(
    ("task", "models", "name"),
    [
        ("ner", ["m"], "both"),
        ("speech", ["m"], "model"),
        ("ner", ["n"], "task"),
        ("speech", [], "all"),
        ("ner", ["n", "m"], "both"),
    ],
)
def test_the_most_specific_alias_wins(task: Task, models: list[str], name: str) -> None:
    ontology = Ontology(
        classes=tuple(Class(name=own) for own in ("both", "model", "task", "all")),
        aliases=(
            Alias(labels=("x",), to="all"),
            Alias(labels=("x",), to="task", task="ner"),
            Alias(labels=("x",), to="model", model="m"),
            Alias(labels=("x",), to="both", model="m", task="ner"),
        ),
    )

    assert ontology.class_of("x", task=task, models=models) == name


def test_one_model_may_use_the_name_of_a_class_for_another() -> None:
    ontology = street(aliases=(Alias(labels=("person",), to="other", model="mannequins"),))

    assert ontology.class_of("person", task="detection", models=["mannequins"]) == "other"
    assert ontology.class_of("person", task="detection", models=["detector"]) == "person"


# ---- attributes


@pytest.mark.parametrize(
    ("label", "attributes", "said"),
    [
        ("car", {"doors": 4, "occluded": True}, []),
        ("car", {"doors": 3}, ["the attribute 'doors' of class 'car' must be one of 2, 4; got 3"]),
        ("car", {"occluded": 1}, ["the attribute 'occluded' of class 'car' must be of type boolean; got 1"]),
        ("vehicle", {"doors": 4}, ["class 'vehicle' has no attribute 'doors'; it has: occluded"]),
        ("other", {"doors": 4}, ["class 'other' has no attribute 'doors'; it has: none"]),
        ("person", {"anything": "goes"}, []),
        ("zebra", {"stripes": 9}, []),
    ],
)
def test_attributes_that_a_class_does_not_allow_are_reported_and_left(
    label: str, attributes: dict[str, AttributeValue], said: list[str]
) -> None:
    mapped = apply(a_prediction(an("0", label, attributes=attributes)), street(), "detection")

    assert [problem.message for problem in mapped.not_allowed] == said
    assert attributes.items() <= mapped.prediction.annotations[0].attributes.items()


@pytest.mark.parametrize(
    ("kind", "allowed", "refused"),
    [
        ("text", ["", "a"], [1, True]),
        ("integer", [0, -3], [True, 1.0, "1"]),
        ("number", [0, 1.5], [True, "1"]),
        ("boolean", [True, False], [0, 1, "true"]),
    ],
)
def test_a_type_allows_its_values_alone(
    kind: Any, allowed: list[AttributeValue], refused: list[AttributeValue]
) -> None:
    assert all(Attribute(type=kind).problem(value) is None for value in allowed)
    assert all(Attribute(type=kind).problem(value) for value in refused)


def test_one_is_not_true_among_the_values() -> None:
    assert Attribute(values=(1, "a")).problem(True)
    assert Attribute(values=(True,)).problem(1)


# ---- exclusive groups


def test_descendants_are_on_the_side_of_their_ancestor() -> None:
    ontology = street(exclusive=(("vehicle", "person"),))

    assert ontology.exclusions() == ({"vehicle": "vehicle", "car": "vehicle", "person": "person"},)


def test_a_check_finds_what_the_ontology_excludes() -> None:
    ontology = street(exclusive=(("car", "person"),))
    both = Prediction(
        annotations=tuple(
            Annotation(id=str(n), label=label, geometry=WholeItem(), score=0.9 - n / 10)
            for n, label in enumerate(["auto", "vehicle", "person"])
        )
    )

    mapped = apply(both, ontology, "detection")
    checked = check(mapped.prediction, task="detection", rules=SanityRules(), exclusive=ontology.exclusions())

    assert [(finding.rule, finding.annotation_id) for finding in checked.findings] == [("exclusive_labels", "2")]
    assert checked.findings[0].message == "'person' excludes 'car', which #0 says of the same thing"


# ---- digests


def test_comments_spelling_and_the_order_of_aliases_leave_the_digest_alone(tmp_path: Path) -> None:
    content = yaml.safe_load(STREET)
    content["aliases"].reverse()
    content["aliases"] += [{"labels": ["auto"], "to": "car"}]
    content["aliases"][2]["labels"] = ["automobile"]
    content["exclusive"][0].reverse()

    respelled = read(a_file(tmp_path, f"# the street\n{yaml.safe_dump(content)}"))

    assert respelled.digest() == read(a_file(tmp_path, STREET)).digest()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("[auto, automobile]", "[auto]"),
        ("task: ner", "task: speech"),
        ("model: old-detector", "model: new-detector"),
        ("id: 2", "id: 3"),
        ("values: [2, 4]", "values: [2, 5]"),
        ("abstain: other", "abstain: speech"),
        ("[vehicle, person]", "[vehicle, speech]"),
        ("abstain: other", "abstain: other\nunmapped: drop"),
    ],
)
def test_whatever_else_changes_changes_the_digest(tmp_path: Path, was: str, becomes: str) -> None:
    changed = STREET.replace(was, becomes)

    assert changed != STREET
    assert read(a_file(tmp_path, changed)).digest() != read(a_file(tmp_path, STREET)).digest()


# ---- what holds for every prediction

rows = st.tuples(
    st.sampled_from(["car", "auto", "person", "zebra", "yak", ""]), st.floats(0, 1), st.none() | st.integers(0, 9)
)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    drawn = enumerate(draw(st.lists(rows, max_size=9)))
    annotations = [an(str(n), own, score=score, of=None if of is None else str(of)) for n, (own, score, of) in drawn]
    return a_prediction(*annotations, min_score=0.0)


@given(predictions(), st.sampled_from(["keep", "abstain", "drop"]))
def test_every_label_is_a_class_afterwards_or_counted(prediction: Prediction, unmapped: str) -> None:
    ontology = street(unmapped=unmapped)

    mapped = apply(prediction, ontology, "detection")

    kept = mapped.prediction.annotations
    dropped = len(prediction.annotations) - len(kept)
    strange = [label for label in labels(prediction) if ontology.class_of(label, task="detection") is None]
    assert mapped.unmapped == Counter(strange)
    assert dropped == (len(strange) if unmapped == "drop" else 0)
    assert sum("unmapped" in a.attributes for a in kept) + dropped == len(strange)
    assert all(ontology.has(a.label) or a.attributes == {"unmapped": True} for a in kept)


@given(predictions(), st.sampled_from(["keep", "abstain", "drop"]))
def test_what_is_mapped_is_mapped_to_itself(prediction: Prediction, unmapped: str) -> None:
    ontology = street(unmapped=unmapped)
    once = apply(prediction, ontology, "detection").prediction

    assert apply(once, ontology, "detection").prediction == once


def test_labels_are_ordered_as_the_classes_are_and_what_is_no_class_comes_last() -> None:
    assert street().in_order(["zebra", "person", "axe", "car", "axe"]) == [
        *("vehicle", "car", "person", "other"),
        *("axe", "zebra"),
    ]
    assert street().in_order([]) == ["vehicle", "car", "person", "other"]
