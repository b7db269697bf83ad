"""Writes spaCy documents by our own writer and reads them with spaCy; runs in the environment 'spacy'."""

import sys
from pathlib import Path

import spacy
from spacy.tokens import DocBin

sys.path.insert(0, str(Path(__file__).parents[4]))

from models.types import Item
from pipelines.formats import spacy_docbin
from pipelines.formats.exported import Exported
from pipelines.formats.results import RESULT


def read(entries, labels, out, **options):
    """What is left out, and the documents by file."""
    left_out = spacy_docbin.write((_entry(**entry) for entry in entries), labels=labels, out=Path(out), **options)
    return {"left_out": left_out, "files": [_docs(file) for file in sorted(Path(out).iterdir())]}


def _entry(id, result, text):
    return Exported(result=RESULT.validate_python(result), item=Item(id=id, media="text", uri="x"), text=text)


def _docs(file):
    vocab = spacy.blank("xx").vocab  # not the writer's: what is read must be in the file
    return [_doc(doc) for doc in DocBin().from_disk(file).get_docs(vocab)]


def _doc(doc):
    group = doc.spans["prelabel"]
    return {
        "text": doc.text,
        "tokens": [token.text for token in doc],
        "entities": [[entity.start_char, entity.end_char, entity.label_] for entity in doc.ents],
        "begin_or_end_with_space": [entity[0].is_space or entity[-1].is_space for entity in doc.ents],
        "spans": [[span.start_char, span.end_char, span.label_] for span in group],
        "texts": [span.text for span in group],
        "scores": group.attrs["scores"].tolist(),
        "score_kinds": group.attrs["score_kinds"],
        "is_labelled": doc.has_annotation("ENT_IOB"),
        "item": doc.user_data["prelabel"],
    }
