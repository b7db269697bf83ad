"""Lists and reads drops in an S3-compatible server, which runs beside it, by our code and s3fs."""

import logging
import os
import sys
from pathlib import Path

from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).parents[4]))
os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "10"  # of a page
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
os.environ.update(
    AWS_ACCESS_KEY_ID="key",
    AWS_SECRET_ACCESS_KEY="s3cr3t",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ENDPOINT_URL=f"http://{host}:{port}",
    AWS_EC2_METADATA_DISABLED="true",
)

from models.types import Item  # noqa: E402
from pipelines.fetch import FetchPolicy, buckets  # noqa: E402
from pipelines.sources import open_source  # noqa: E402


def read(ask, **request):
    """The answer to a request, which ``ask`` names."""
    return {"put": put, "list": entries, "fetch": fetch}[ask](**request)


def put(bucket, objects):
    """Store objects, their contents given in Latin-1, in a bucket that is made if it is missing."""
    store = buckets.open_filesystem("s3")
    if not store.exists(bucket):
        store.mkdir(bucket)
    for key, content in objects.items():
        store.call_s3("put_object", Bucket=bucket, Key=key, Body=content.encode("latin-1"))


def entries(drop, task, allowed):
    """The name, the identity and the entries of a drop."""
    source = open_source(drop, task, policy=FetchPolicy(allowed_buckets=tuple(allowed)))
    return {"name": source.name, "identity": source.identity(), "entries": [shown(e) for e in source.entries()]}


def shown(entry):
    item = entry if isinstance(entry, Item) else entry.item
    code = None if isinstance(entry, Item) else entry.failure.code
    return {"id": item.id, "uri": item.uri, "text": item.text, "meta": item.meta, "code": code}


def fetch(uri, allowed):
    """What the fetcher reads, in Latin-1."""
    import asyncio

    from pipelines.fetch import Fetcher

    async def fetched():
        async with Fetcher(FetchPolicy(allowed_buckets=tuple(allowed))) as fetcher:
            return await fetcher.fetch(Item(id="a", media="image", uri=uri))

    return asyncio.run(fetched()).data.decode("latin-1")
