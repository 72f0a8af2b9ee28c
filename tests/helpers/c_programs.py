"""C programs that use an export, compiled and run on this machine."""

import shutil
import subprocess

import pytest

CHECKED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run_c(export, place, text, *flags, without=""):
    """Compile a program with an export, but one of its files; return what it printed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    (place / "program.c").write_text(text)
    sources = [*(str(path) for path in export.glob("l3clf*.c") if path.name != without), str(place / "program.c")]
    command = [compiler, "-std=c99", *flags, f"-I{export}", *sources, "-lm", "-o", str(place / "program")]
    subprocess.run(command, check=True)
    done = subprocess.run([place / "program"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()
