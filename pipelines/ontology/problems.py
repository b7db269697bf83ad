"""Says where an ontology contradicts itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from difflib import get_close_matches
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pipelines.ontology.ontology import Alias, Ontology

T = TypeVar("T", bound=Hashable)


def problems(ontology: Ontology) -> Iterator[str]:
    """Everything that contradicts itself, a sentence for each; nothing if all is well.

    Classes or ids given twice; parents, aliases, groups and an abstain class that name no class; classes that are their
    own ancestors; a label that means two classes; groups whose members cannot exclude each other.
    """
    if not ontology.classes:
        yield "an ontology needs classes"
    yield from (f"class '{name}' is given twice" for name in _twice(own.name for own in ontology.classes))
    ids = (own.id for own in ontology.classes if own.id is not None)
    yield from (f"more than one class has the id {number}" for number in _twice(ids))
    yield from _unknown(ontology)
    parents = {own.name: own.parent for own in ontology.classes if own.parent is not None}
    cycles = list(_cycles(parents))
    yield from (f"classes descend from each other: {' → '.join(cycle)}" for cycle in cycles)
    yield from _conflicting_aliases(ontology)
    yield from _groups(ontology, {} if cycles else parents)
    if ontology.unmapped == "abstain" and ontology.abstain is None:
        yield "labels without a class shall go to the abstain class; name it in abstain"


def _unknown(ontology: Ontology) -> Iterator[str]:
    names = [own.name for own in ontology.classes]
    named = [(f"the parent of '{own.name}'", own.parent) for own in ontology.classes if own.parent is not None]
    named += [(f"the class that {list(alias.labels)} mean", alias.to) for alias in ontology.aliases]
    named += [("a member of an exclusive group", member) for group in ontology.exclusive for member in group]
    named += [("the abstain class", ontology.abstain)] if ontology.abstain is not None else []
    for where, name in named:
        if name not in names:
            yield f"{where}, '{name}', is no class{_hint(name, names)}"


def _hint(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _cycles(parents: dict[str, str]) -> Iterator[list[str]]:
    """Each cycle once, from the member on that was named first."""
    seen = set[str]()
    for name in parents:
        path = list[str]()
        own: str | None = name
        while own is not None and own not in seen:
            seen.add(own)
            path.append(own)
            own = parents.get(own)
        if own in path:
            yield [*path[path.index(own) :], own]


def _conflicting_aliases(ontology: Ontology) -> Iterator[str]:
    names = {own.name for own in ontology.classes}
    first = dict[tuple[str, str | None, str | None], str]()
    for alias in ontology.aliases:
        for label in alias.labels:
            if label in names and alias.model is None and alias.task is None:
                yield f"'{label}' is a class and cannot be an alias of '{alias.to}' for every model"
            target = first.get((label, alias.model, alias.task))
            if target is not None:
                meanings = f"'{target}' twice" if target == alias.to else f"'{target}' and '{alias.to}'"
                yield f"the label '{label}' {_scope(alias)} is an alias of {meanings}"
            first.setdefault((label, alias.model, alias.task), alias.to)


def _scope(alias: Alias) -> str:
    model = "of any model" if alias.model is None else f"of the model '{alias.model}'"
    return model if alias.task is None else f"{model} for {alias.task}"


def _groups(ontology: Ontology, parents: dict[str, str]) -> Iterator[str]:
    for group in ontology.exclusive:
        if len(group) < 2:
            yield f"an exclusive group needs two classes or more, not {list(group)}"
        yield from (f"an exclusive group names '{member}' twice" for member in _twice(group))
        for one, other in combinations(dict.fromkeys(group), 2):
            for child, ancestor in ((one, other), (other, one)):
                if ancestor in _ancestors(child, parents):
                    yield f"'{child}' is a kind of '{ancestor}', so that they cannot exclude each other"


def _ancestors(name: str, parents: dict[str, str]) -> Iterator[str]:
    while name in parents:
        name = parents[name]
        yield name


def _twice(values: Iterable[T]) -> list[T]:
    return [value for value, count in Counter(values).items() if count > 1]
