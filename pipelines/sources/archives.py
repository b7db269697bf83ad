"""Finds the archives that a path or a pattern names."""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import ConfigError
from pipelines.fetch import buckets
from pipelines.fetch.policy import FetchPolicy
from pipelines.sources.pattern import expanded, is_pattern, root_and_rest
from pipelines.sources.single_file import SingleFile, is_path


def archives(
    location: str,
    policy: FetchPolicy,
    open_filesystem: buckets.OpenFilesystem,
) -> list[SingleFile]:
    """The archives of a path, or of a pattern: those of braces in their order, those of other signs by name.

    Raises:
        ConfigError: one that the braces name is not there or may not be opened, or there is none at all.
    """
    names = _names(location)
    if not names:
        raise ConfigError(f"no archives are named by '{location[:200]}'; check the pattern")
    return [SingleFile(name, policy, open_filesystem=open_filesystem) for name in names]


def _names(location: str) -> list[str]:
    if not is_pattern(location) or (is_path(location) and Path(location).exists()):
        return [location]
    names = expanded(location)
    if not any(is_pattern(name) for name in names):
        return names
    if any(".." in name.split("/") for name in names):
        raise ConfigError(f"got the pattern '{location[:200]}'; wanted one without ..")
    if not is_path(location):
        raise ConfigError(f"got the pattern '{location[:200]}'; in a bucket, name archives by braces: {{000..010}}")
    root, _ = root_and_rest(location)
    patterns = [name.removeprefix(root).lstrip("/") for name in names]
    return sorted({os.fspath(path) for pattern in patterns for path in Path(root).glob(pattern)})
