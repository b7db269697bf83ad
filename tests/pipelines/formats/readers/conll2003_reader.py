"""Reads CoNLL-2003 columns with the converter behind 'spacy convert'; runs in the environment 'spacy'."""

from pathlib import Path

from spacy.training.converters import conll_ner_to_docs


def read(path):
    columns = Path(path).read_text(encoding="utf-8")
    return [
        {
            "words": [token.text for token in doc],
            "tags": [token.tag_ for token in doc],
            "ends": [sentence.end for sentence in doc.sents],
            "entities": [[entity.start, entity.end, entity.label_] for entity in doc.ents],
        }
        for doc in conll_ner_to_docs(columns, no_print=True)
    ]
