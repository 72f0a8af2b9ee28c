"""Clips with their labels, folds and groups, from the layouts in which people keep their data.

Rule: nothing is guessed silently, and no audio is decoded: a table lists clips, and a clip that cannot be
read is reported when it is read.
"""

from l3clf.datasets.audacity import load_audacity_labels
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.describe import Description
from l3clf.datasets.folders import SOUND_SUFFIXES, find_sounds, load_csv, load_folder
from l3clf.datasets.published import load_esc, load_fsdd, load_urbansound8k
from l3clf.datasets.raven import load_raven_tables
from l3clf.datasets.recognise import load

__all__ = [
    "SOUND_SUFFIXES",
    "ClipTable",
    "Description",
    "find_sounds",
    "load",
    "load_audacity_labels",
    "load_csv",
    "load_esc",
    "load_folder",
    "load_fsdd",
    "load_raven_tables",
    "load_urbansound8k",
]
