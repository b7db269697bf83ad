"""Finds out what a drop is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from models.errors import ConfigError
from models.types import Task
from pipelines.fetch import buckets, files
from pipelines.fetch.fetcher import scheme_of
from pipelines.fetch.policy import FetchPolicy
from pipelines.sources import json_array, json_lines
from pipelines.sources.archives import archives
from pipelines.sources.bucket import Bucket
from pipelines.sources.coco import Coco
from pipelines.sources.columns import Columns
from pipelines.sources.folder import Folder
from pipelines.sources.label_studio import LabelStudio
from pipelines.sources.manifest import ENCODINGS, Manifest
from pipelines.sources.pattern import Pattern, is_pattern, root_and_rest
from pipelines.sources.single_file import SingleFile, explained, is_path
from pipelines.sources.source import Source
from pipelines.sources.suffixes import suffix_of
from pipelines.sources.web_dataset import WebDataset

Kind = Literal["folder", "glob", "manifest", "bucket", "web_dataset", "label_studio", "coco"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_WANTED = (
    f"a folder, a pattern of paths, a bucket's prefix, a manifest ({', '.join(ENCODINGS)}), "
    "archives in WebDataset's layout (.tar), or a Label Studio export or COCO file (.json)"
)
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  # of which only the first can be read


def open_source(
    drop: str,
    task: Task,
    *,
    policy: FetchPolicy,
    kind: str | None = None,
    columns: Columns = Columns(),
    base: str | None = None,
    open_filesystem: buckets.OpenFilesystem = buckets.open_filesystem,
) -> Source:
    """What lists the items of a drop.

    Args:
        drop: a path, seen from the working directory; a pattern of paths; or an address in a bucket.
        task: what the items are for.
        policy: what may be opened; see ``opening``.
        kind: what the drop is, where its name does not say so: folder, glob, manifest, bucket, web_dataset,
            label_studio, coco. A .json file of one object a line is a manifest.
        columns: which columns of a manifest hold what, where they are not the usual ones; ``uri`` is also the suffix of
            what is labelled of a sample in an archive, and the field of a Label Studio task.
        base: the folder or address that relative URIs in the drop are relative to, instead of the drop's own folder; of
            a Label Studio export, the address of its server.
        open_filesystem: gives the fsspec filesystem of a bucket's scheme.

    Raises:
        ConfigError: the drop is not there, may not be opened, or is nothing of the kind.
    """
    location = drop if not is_path(drop) else os.fspath(Path(drop).absolute())
    if is_path(location):
        with explained():  # first of all: what else is said would tell what is there
            files.check(location, policy)
    known = _known(kind) or _kind_of(drop, location)
    if known is None:
        with SingleFile(location, policy, open_filesystem=open_filesystem).open() as file:
            known = _kind_within(drop, json_array.opening(file))
    match known:
        case "folder":
            return Folder(_found(location, policy), task)
        case "glob":
            root, pattern = root_and_rest(location)
            return Folder(_found(root, policy), task, pattern=Pattern(pattern))
        case "manifest":
            encoding = {**ENCODINGS, ".json": json_lines}.get(suffix_of(location))
            if encoding is None:
                raise ConfigError(f"got '{drop}' as a manifest; wanted one of: {', '.join(ENCODINGS)}")
            file = SingleFile(location, policy, open_filesystem=open_filesystem)
            return Manifest(file, task, encoding=encoding, columns=columns, base=base)
        case "bucket":
            return Bucket(location, task, policy, open_filesystem=open_filesystem)
        case "web_dataset":
            found = archives(location, policy, open_filesystem)
            return WebDataset(found, task, location=location, member=columns.uri)
        case "label_studio":
            file = SingleFile(location, policy, open_filesystem=open_filesystem)
            return LabelStudio(file, task, columns=columns, base=base)
        case "coco":
            return Coco(SingleFile(location, policy, open_filesystem=open_filesystem), task, base=base)


def check_drop(drop: str, *, policy: FetchPolicy, kind: str | None = None) -> None:
    """Find out what can be known of somebody else's drop before anything in it is read.

    Args:
        drop: an absolute path or a pattern of such, or an address in a bucket.
        policy: what may be opened; a bucket is not asked.
        kind: what the drop is, where its name does not say so.

    Raises:
        ConfigError: it may not be opened, whether it is there or not (blocked_url); a path is not there (not_found);
            or it is of no known kind.
    """
    known = _known(kind)
    if is_path(drop) and not drop.startswith("/"):
        raise ConfigError(f"got the relative path '{drop[:200]}'; wanted an absolute one")
    with explained():
        if scheme_of(drop) in buckets.SCHEMES:
            buckets.check(drop, policy)
        elif scheme_of(drop) == "file":
            files.check(drop, policy)  # first of all: what else is said would tell what is there
            if not is_pattern(drop):
                files.find(drop, policy)
    if known is None:
        _kind_of(drop, drop)


def opening(policy: FetchPolicy, drop: str) -> FetchPolicy:
    """The policy, with a local drop's folder open: for whoever gives a drop at the command line, and nobody else."""
    if not is_path(drop):
        return policy
    path = Path(drop).absolute()
    if not path.exists() and is_pattern(drop):
        path = Path(root_and_rest(str(path))[0])
    return replace(policy, roots=(*policy.roots, path if path.is_dir() else path.parent))


def _known(kind: str | None) -> Kind | None:
    for known in _KINDS:
        if kind == known:
            return known
    if kind is not None:
        raise ConfigError(f"unknown kind of drop '{kind}'; choose one of: {', '.join(_KINDS)}")
    return None


def _kind_of(drop: str, location: str) -> Kind | None:
    """What a drop is by its name; None for a .json file, of which only its content tells.

    Raises:
        ConfigError: it is nothing that is known.
    """
    scheme = scheme_of(location)
    if scheme != "file" and scheme not in buckets.SCHEMES:
        raise ConfigError(f"got the drop '{drop[:200]}'; wanted {_WANTED}")
    if is_path(location) and Path(location).is_dir():
        return "folder"
    if suffix_of(location) in ENCODINGS:
        return "manifest"
    if location.lower().endswith(_ARCHIVES):
        return "web_dataset"
    if suffix_of(location) == ".json":
        return None
    if scheme in buckets.SCHEMES:
        return "bucket"
    if is_path(location) and is_pattern(location) and not Path(location).exists():
        return "glob"
    raise ConfigError(f"got the drop '{drop[:200]}', which is none that is known or not there; wanted {_WANTED}")


def _kind_within(drop: str, opening: bytes) -> Kind:
    match opening:
        case b"[":
            return "label_studio"
        case b"{":
            return "coco"
        case _:
            raise ConfigError(f"got the drop '{drop[:200]}', neither a JSON list nor an object; wanted {_WANTED}")


def _found(location: str, policy: FetchPolicy) -> Path:
    with explained():
        return files.find(location, policy)
