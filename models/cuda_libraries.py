"""Opens the CUDA 12 libraries that CTranslate2 looks for by name, wherever pip has put them.

CTranslate2 4.8 opens libcublas.so.12 by its bare name and needs nothing else of CUDA (its runtime is linked in); torch
brings CUDA 13. The extra ``gpu`` installs cuBLAS 12 where no loader looks, so it is opened here by its path: the later
search by name then finds it open. Both versions live side by side in a process, each under its own name.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")  # in this order: the second needs the first
ADVICE = "install prelabel[gpu] (or nvidia-cublas-cu12), or CUDA 12 itself"
_DRIVER = "libcuda.so.1"


def open_for_ctranslate2() -> list[str]:
    """Open cuBLAS 12 for good, if there is an NVIDIA driver.

    Returns:
        The names of the libraries that cannot be opened; none where there is no driver.
    """
    return open_by_path(folders()) if has_driver() else []


def missing() -> list[str]:
    """What speech models lack on this machine's GPU; nothing where there is none."""
    return open_for_ctranslate2()


def has_driver() -> bool:
    return sys.platform == "linux" and _opens(_DRIVER)


def folders() -> Iterator[Path]:
    """Where the pip packages of cuBLAS 12 put it: nvidia/cublas/lib in each folder that Python imports from."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "cublas" / "lib"


def open_by_path(places: Iterable[Path]) -> list[str]:
    """Open each library in the first of the places that has it, else wherever the loader finds its name.

    Returns:
        The names of those that cannot be opened.
    """
    known = list(places)
    return [name for name in LIBRARIES if not any(_opens(path) for path in _candidates(name, known))]


def _candidates(name: str, places: Iterable[Path]) -> list[str]:
    return [*(str(place / name) for place in places if (place / name).is_file()), name]


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
