"""Reads a brat collection with pybrat, and its notes, which pybrat passes over, with medkit."""

from pathlib import Path

from medkit.io.brat import BratInputConverter
from pybrat.parser import BratParser

# "ignore", for it takes two labels on one range for an error. What it cannot read is missing from what it finds.
PARSER = BratParser(error="ignore")


def read(folder, *, notes=False):
    return _notes(folder) if notes else {example.id: _document(example) for example in PARSER.parse(folder)}


def _document(example):
    entities = [[entity.type, [[s.start, s.end] for s in entity.spans], entity.mention] for entity in example.entities]
    return {"text": example.text, "entities": entities}


def _notes(folder):
    """The label, text and notes of each entity in a folder's files. medkit wants no white space at an entity's end."""
    found = BratInputConverter().load(Path(folder))
    return [
        [entity.label, entity.text, [note.value for note in entity.attrs.get(label="brat_note")]]
        for document in found
        for entity in document.anns.entities
    ]
