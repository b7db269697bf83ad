"""Imports a file into doccano, as its server does after an upload, and says what came to be in its database."""

import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import django
from django.conf import settings
from django.core.management import call_command

# doccano is a Django project inside a package: its modules are found by their bare names.
sys.path.insert(0, str(Path(find_spec("backend").origin).parent))
FOLDER = TemporaryDirectory()  # where uploads would lie
APPS = ("roles", "projects", "label_types", "examples", "labels", "data_import")
# Not doccano's own settings: they want an older marshmallow than its requirements do.
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "polymorphic", "django_drf_filepond", *APPS],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "django_drf_filepond", *APPS)),
    DJANGO_DRF_FILEPOND_UPLOAD_TMP=FOLDER.name,
    DJANGO_DRF_FILEPOND_FILE_STORE_PATH=FOLDER.name,
    USE_TZ=True,
)
django.setup()

from data_import.datasets import load_dataset  # noqa: E402
from data_import.pipeline.catalog import JSONL  # noqa: E402
from data_import.pipeline.readers import FileName  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from examples.models import Example  # noqa: E402
from labels.models import Span  # noqa: E402
from projects.models import ProjectType, SequenceLabelingProject  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
USER = User.objects.create(username="annotator")


def read(path, *, task="SequenceLabeling", encoding="utf_8", allow_overlapping=True):
    project = SequenceLabelingProject.objects.create(
        project_type=ProjectType.SEQUENCE_LABELING, allow_overlapping=allow_overlapping
    )
    file = FileName(full_path=path, generated_name="file", upload_name="file")
    dataset = load_dataset(task, JSONL(), [file], project, encoding=encoding)
    dataset.save(USER)
    return {
        "errors": [error.dict() for error in dataset.errors],
        "examples": [_example(example) for example in Example.objects.filter(project=project).order_by("id")],
    }


def _example(example):
    spans = Span.objects.filter(example=example).order_by("id").select_related("label")
    return {
        "text": example.text,
        "meta": example.meta,
        "spans": [[span.start_offset, span.end_offset, span.label.text] for span in spans],
    }
