"""Says what labels a run's items, down to the digests, so that a run goes on with what it began with."""

from __future__ import annotations

from models.types import Task
from pipelines.prelabel import Models
from serving.settings import Settings

POLICY, RULES, ONTOLOGY = "policy", "sanity", "ontology"  # as the configuration calls them


def fingerprint(settings: Settings, models: Models, task: Task, *, policy_id: str) -> dict[str, str]:
    """Digests by the names of what they are of: each model of the task, the policy, the rules, and an ontology."""
    uses = [models.use_of(model) for model in settings.tasks[task]]
    of_models = {f"{use.name}@{use.version}": f"{use.weights_digest}:{use.config_digest}" for use in uses}
    standards = settings.standards
    of_ontology = {} if standards.ontology_digest is None else {ONTOLOGY: standards.ontology_digest}
    return of_models | {POLICY: policy_id, RULES: standards.rules_digest} | of_ontology
