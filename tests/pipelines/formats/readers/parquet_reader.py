"""Reads Parquet files as DuckDB and as Hugging Face datasets read them."""

import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import duckdb

datasets.disable_progress_bars()


def read(library, **request):
    return {"duckdb": query, "datasets": load}[library](**request)


def query(sql):
    """The rows that answer a query."""
    return duckdb.sql(sql).fetchall()


def load(path, streaming=False):
    """The features of a file's, or a folder's, data set, and its examples."""
    place = {"data_dir" if Path(path).is_dir() else "data_files": path}
    with tempfile.TemporaryDirectory() as cache:
        table = datasets.load_dataset("parquet", split="train", streaming=streaming, cache_dir=cache, **place)
        features = {name: str(feature) for name, feature in table.features.items()}
        rows = [{**row, "created_at": row["created_at"] and row["created_at"].isoformat()} for row in table]
    return {"features": features, "rows": rows}
