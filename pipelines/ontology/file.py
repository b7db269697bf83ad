"""Reads an ontology from its file."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from models.errors import ConfigError
from pipelines.ontology.ontology import Ontology

_ONTOLOGY = TypeAdapter(Ontology)


def read(path: Path) -> Ontology:
    """The ontology of a YAML file::

        classes:
          - {name: vehicle, attributes: {occluded: {type: boolean}}}
          - {name: car, id: 1, colour: "#3366cc", parent: vehicle, attributes: {doors: {values: [2, 4]}}}
          - {name: person, description: "on foot"}
          - {name: other}
        aliases:
          - {labels: [auto, automobile], to: car}
          - {labels: PER, to: person, task: ner}
          - {labels: "3", to: car, model: old-detector}
        exclusive:
          - [vehicle, person]
        abstain: other
        unmapped: keep

    Raises:
        ConfigError: it cannot be read, is not YAML, has unknown or repeated keys or wrong values, or contradicts
            itself; the message names each.
    """
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ConfigError(f"wanted classes, aliases, exclusive, abstain, unmapped; got {type(content).__name__}")
        return _ONTOLOGY.validate_python(content)
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"the ontology {path} cannot be read: {err}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"the ontology {path} is not YAML: {err}") from err
    except ValidationError as err:
        raise ConfigError(f"the ontology {path} cannot be used: {_wrong_values(err)}") from err
    except ConfigError as err:
        raise ConfigError(f"the ontology {path} cannot be used: {err.message}") from err


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that comes twice, of which YAML parsers take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = list[object]()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} comes twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> object:
    loader = _StrictLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _wrong_values(err: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {_said(problem)}" for problem in err.errors())


def _said(problem: ErrorDetails) -> str:
    message = (
        "unknown key"
        if problem["type"] == "unexpected_keyword_argument"
        else problem["msg"].removeprefix("Value error, ")
    )
    value = problem["input"]
    if problem["type"] == "string_type" and isinstance(value, bool | int | float):
        return f"{message}; got {value!r}; names such as no, on or 12 need quotes"
    return f"{message}; got {value!r}" if isinstance(value, str | int | float) else message
