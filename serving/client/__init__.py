"""Calls a running service from Python: ``Client`` from ordinary code, ``AsyncClient`` from a coroutine.

```python
with Client("http://127.0.0.1:8000") as client, progress_bar(len(files)) as progress:
    requests = (Request(item=Item(id=f.name, media="image", data=f.read_bytes()), task="detection") for f in files)
    for result in client.stream(requests, progress=progress):
        ...
```
"""

from models.types import Item
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client.asynchronous import AsyncClient
from serving.client.claimed import ClaimedTask
from serving.client.errors import AnswerError, ServiceError, UnreachableError
from serving.client.synchronous import Client
from serving.client.tally import Tally, progress_bar

__all__ = [
    "AnswerError",
    "AsyncClient",
    "ClaimedTask",
    "Client",
    "Item",
    "Request",
    "Result",
    "ServiceError",
    "Tally",
    "UnreachableError",
    "progress_bar",
]
