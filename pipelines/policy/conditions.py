"""States what a certificate was given for; anything else voids it."""

from __future__ import annotations

from dataclasses import dataclass

from models.types import Item, Prompts
from pipelines.types import Provenance


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What was the same for everything that a certificate stands on.

    ``chain``, ``config_digest``, ``rules_digest`` and ``ontology_digest`` are as in a pre-label's provenance;
    ``sources`` are the values of the terms' source key that were seen.
    """

    chain: tuple[str, ...]
    config_digest: str
    rules_digest: str | None = None
    ontology_digest: str | None = None
    sources: tuple[str, ...] = ()

    def broken_by(self, item: Item, provenance: Provenance, *, source: str | None) -> str | None:
        """What of an item is not as it was when the certificate was given; None if all is.

        Args:
            source: the key of items' meta that says where they come from; None where that does not matter.
        """
        if item.prompts != Prompts():
            return "the item asks for labels or objects of its own"
        if not provenance.chain:
            return "nothing says which models have made the pre-label"
        if provenance.chain != self.chain[: len(provenance.chain)]:
            return f"the models and their configurations are {_named(provenance.chain)}, and were {_named(self.chain)}"
        if provenance.chain == self.chain and provenance.config_digest != self.config_digest:
            return f"the configuration of model '{provenance.model}' has changed"
        if provenance.rules_digest != self.rules_digest:
            return "the sanity rules have changed"
        if provenance.ontology_digest != self.ontology_digest:
            return "the ontology has changed"
        if source is not None and item.meta.get(source, "") not in self.sources:
            return f"nothing is certified for {source} '{item.meta.get(source, '')}'"
        return None


def _named(chain: tuple[str, ...]) -> str:
    return " → ".join(chain) or "none"
