"""Maps what models call things to the classes that a labeling project knows: ``read`` a file, then ``apply`` it."""

from pipelines.ontology.file import read
from pipelines.ontology.mapping import MODEL_LABEL, UNMAPPED, Mapped, NotAllowed, apply
from pipelines.ontology.ontology import Alias, Attribute, Class, Ontology

__all__ = [
    "MODEL_LABEL",
    "UNMAPPED",
    "Alias",
    "Attribute",
    "Class",
    "Mapped",
    "NotAllowed",
    "Ontology",
    "apply",
    "read",
]
