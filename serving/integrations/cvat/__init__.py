"""Brings pre-labels into CVAT: as an auto-annotation function, as an agent, and as a nuclio-style endpoint.

``cvat-cli`` takes this package as a function (``--function-module serving.integrations.cvat``) by its ``create``.
"""

from serving.integrations.cvat.function import create

__all__ = ["create"]
