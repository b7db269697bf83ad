"""Says what labels a run's items, down to the digests, so that a run goes on with what it began with."""

from __future__ import annotations

from models.types import Task
from pipelines.prelabel import Models
from serving.settings import Settings

POLICY, RULES, ONTOLOGY, EXTRAS = "policy", "sanity", "ontology", "extras"  # as the configuration calls them


def fingerprint(settings: Settings, models: Models, task: Task, *, policy_id: str) -> dict[str, str]:
    """Digests by the names of what they are of: each model of the task, the policy, the rules, an ontology,
    and what is asked beyond the task."""
    uses = [models.use_of(model) for model in settings.asked(task)]
    of_models = {f"{use.name}@{use.version}": f"{use.weights_digest}:{use.config_digest}" for use in uses}
    standards = settings.standards
    of_ontology = {} if standards.ontology_digest is None else {ONTOLOGY: standards.ontology_digest}
    extras = settings.extras.get(task)
    of_extras = {} if extras is None else {EXTRAS: repr(extras)}
    return of_models | {POLICY: policy_id, RULES: standards.rules_digest} | of_ontology | of_extras
