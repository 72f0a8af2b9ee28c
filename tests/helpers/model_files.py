"""Model files taken apart and put together again, with whatever describes the parts made right."""

import io
import json
import zipfile
from hashlib import sha256

import numpy as np


def unzip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(members, method=zipfile.ZIP_DEFLATED, comment=b""):
    """Return a ZIP of `members`, a mapping or pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
        archive.comment = comment
    return file.getvalue()


def edited(good, change):
    """Return the file with model.json changed."""
    members = unzip(good)
    document = json.loads(members["model.json"])
    change(document)
    members["model.json"] = json.dumps(document).encode()
    return rezip(members)


def put(*keys_and_value):
    """Return a change that sets a field of model.json."""
    *keys, last, value = keys_and_value

    def change(document):
        for key in keys:
            document = document[key]
        document[last] = value

    return change


def with_member(good, name, content, **entry):
    """Return the file with an array's member replaced, and its checksum right."""
    members = unzip(good)
    members[f"{name}.npy"] = content
    document = json.loads(members["model.json"])
    document["arrays"][name].update(sha256=sha256(content).hexdigest(), **entry)
    members["model.json"] = json.dumps(document).encode()
    return rezip(members)


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def with_array(good, name, change):
    """Return the file with an array changed, and all that describes it right."""
    array = np.load(io.BytesIO(unzip(good)[f"{name}.npy"]))
    array = change(array)
    return with_member(good, name, npy(array), dtype=array.dtype.str, shape=list(array.shape))
