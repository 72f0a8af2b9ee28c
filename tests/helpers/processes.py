"""l3clf as a process, for the tests of what only a process has: signals, streams, a start from nothing."""

import os
import subprocess
import sys
from pathlib import Path

import l3clf

# A job in the background, and whatever it starts, ignores Ctrl-C; a command that a person types does not.
HEED_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
RUN_MODULE = HEED_CTRL_C + "import runpy; runpy.run_module('l3clf', run_name='__main__', alter_sys=True)"


def environment(*folders, **variables):
    """Return the environment of a process that imports this l3clf, and modules in further folders."""
    paths = [str(Path(l3clf.__file__).parent.parent), *map(str, folders)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}


def start_l3clf(*arguments, before="", **options):
    """Start ``l3clf`` with these arguments, after some code that prepares its process; return the process."""
    command = [sys.executable, "-c", before + RUN_MODULE, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), **options)
