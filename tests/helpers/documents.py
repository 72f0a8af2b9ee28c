"""The code in Markdown: its blocks, and a folder of the demo's sounds to run them in."""

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from l3clf.cli.main import main
from l3clf.demo import tour

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_SYNTAX = re.compile(r"[|&;$]")
L3CLF_IN_A_SHELL = f'l3clf() {{ {shlex.quote(sys.executable)} -m l3clf "$@"; }}\n'


@dataclass(frozen=True)
class Block:
    """One fenced block: its words (``sh no-run``) and its code."""

    language: str
    words: tuple[str, ...]
    code: str

    @property
    def name(self):
        return self.code.partition("\n")[0]

    @property
    def is_run(self):
        return self.language in ("python", "sh") and "no-run" not in self.words


def blocks_of(text):
    for found in FENCE.finditer(text):
        language, *words = found["info"].split() or [""]
        yield Block(language, tuple(words), found["code"])


def run_block(block, namespace):
    """Run a block in the current folder; `namespace` is what the Python blocks of a text share."""
    if block.language == "python":
        exec(compile(block.code, block.name, "exec"), namespace)  # noqa: S102  # our own text
    elif SHELL_SYNTAX.search(block.code) or not re.match(r"(#|l3clf )", block.code):
        subprocess.run(["bash", "-euo", "pipefail", "-c", L3CLF_IN_A_SHELL + block.code], check=True)
    else:
        for line in block.code.replace("\\\n", " ").splitlines():
            run_command(shlex.split(line, comments=True))


def run_command(words):
    """Run an ``l3clf`` command, ``> FILE`` included, without a process."""
    if not words:
        return
    program, *arguments = words
    assert program == "l3clf"
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    arguments = arguments[: arguments.index(">")] if target else arguments
    with contextlib.ExitStack() as stack:
        if target:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(target).open("w"))))
        assert main(arguments) == 0, shlex.join(words)


@cache
def _demo(folder):
    tour.run(folder, clips_per_class=5, say=lambda text: None)
    return folder


def copy_demo(base, target):
    """Copy what ``l3clf demo`` makes, with fewer clips, to `target`; it is made once a session, below `base`."""
    shutil.copytree(_demo(base / "demo-for-documents"), target)
