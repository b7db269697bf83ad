"""Checks that cuBLAS 12 is opened by path where pip has put it, and nothing at all without a driver."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from models import cuda_libraries
from models.cuda_libraries import LIBRARIES, open_by_path


def a_shared_library() -> Path:
    """Any library that certainly loads: the one that holds this interpreter's ctypes."""
    import _ctypes

    return Path(_ctypes.__file__)


def test_a_library_is_opened_by_its_path(tmp_path: Path) -> None:
    for name in LIBRARIES:
        shutil.copy(a_shared_library(), tmp_path / name)

    assert open_by_path([tmp_path / "empty", tmp_path]) == []
    assert str(tmp_path / LIBRARIES[0]) in Path("/proc/self/maps").read_text()


def test_a_broken_library_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / LIBRARIES[1]).write_bytes(b"not a library")

    assert LIBRARIES[1] in open_by_path([tmp_path])


def test_every_known_place_is_named_after_the_package() -> None:
    assert all(place.parts[-3:] == ("nvidia", "cublas", "lib") for place in cuda_libraries.folders())


@pytest.mark.skipif(cuda_libraries.has_driver(), reason="has an NVIDIA driver")
def test_without_a_driver_nothing_is_missing_and_nothing_is_opened() -> None:
    assert cuda_libraries.missing() == []
    with pytest.raises(OSError, match=r"libcublas\.so\.12"):
        ctypes.CDLL(LIBRARIES[1])
