"""How many windows a second `gpu_distil` renders, asks its teachers about and learns from on a CPU.

On the threads that PyTorch takes (`OMP_NUM_THREADS`), with the sounds and teachers that `bundle` packed, in the steady
state: compiling is over. A step is a batch of new windows, three teachers' answers and a step of each student.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import say
from benchmarks.l3mini.gpu_distil import STEPS, Lesson, School
from benchmarks.l3mini.gpu_network import patches
from benchmarks.l3mini.gpu_teachers import levels_of
from benchmarks.record import Cell, Result, Table, Timing
from l3clf.errors import MissingDependencyError


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    data : Path
        What `bundle` packed.
    students : tuple of str
        That learn at once.
    batch, steps : int
        Windows of a step; steps that are timed.
    part : int
        Every how many streams of sounds are read: fewer are decoded sooner and take as long to learn from.
    compile : bool
        Whether PyTorch compiles teachers and rendering, which takes some minutes and a C++ compiler.
    """

    data: Path = Path("benchmarks/l3mini/.carry")
    students: tuple[str, ...] = ("L",)
    batch: int = 128
    steps: int = 20
    part: int = 10
    compile: bool = True


def run(options: Options) -> Result:
    """Time steps and their parts."""
    if not (options.data / "teachers.npz").is_file():
        raise MissingDependencyError(
            f"data={options.data}: holds no teachers.npz; pack sounds and teachers first (benchmarks/l3mini/README.md)"
        )
    school = _school(options)
    for step in range(2):
        say(f"cpu_training: preparing, step {step + 1} of 2")
        school.step(0.5)
    parts = _parts(school, options.steps)
    seconds = [_seconds(lambda: school.step(0.5)) for _ in range(options.steps)]
    speed = Timing.of([options.batch / one for one in seconds])
    half = str(school.half).removeprefix("torch.")
    title = f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, teachers in {half}"
    whole: tuple[Cell, ...] = (f"a step of {options.batch} windows", Timing.of([1000 * s for s in seconds]), speed)
    columns = (("", ""), ("milliseconds", ",.0f"), ("windows a second", ",.0f"))
    return Result((Table(title, columns, (*parts, whole)),))


def _school(options: Options) -> School:
    torch.manual_seed(0)
    asked = argparse.Namespace(
        data=options.data, batch=options.batch, part=options.part, compile=options.compile, out=None
    )
    school = School(asked, "cpu")
    school.measure(2)
    school.admit(options.students, None)
    return school


def _parts(school: School, repeats: int) -> tuple[tuple[Cell, ...], ...]:
    """What each part of a step takes."""
    with torch.no_grad():
        x = school.sounds.render()
        asked = x[school.sounds.asked]
        lesson = Lesson(school, x, school.sounds.asked)
    work: dict[str, Callable[[], Any]] = {
        "rendering": school.sounds.render,
        "EfficientAT mn04": lambda: school.mn04(x),
        f"speech embedding ({len(asked)} of {len(x)})": lambda: school.speech(asked),
        "YAMNet": lambda: school.yamnet(x),
        "the students' input": lambda: patches(levels_of(x, school.mel, school.hann, STEPS), school.dtype),
    }
    with torch.no_grad():
        rows: list[tuple[Cell, ...]] = [(name, _ms(one, repeats), None) for name, one in work.items()]
    for student in school.students:
        learn = lambda s=student: school._means(s, lesson).sum().backward()  # noqa: E731
        rows.append((f"student {student.name}, both ways", _ms(learn, repeats), None))
    return tuple(rows)


def _ms(work: Callable[[], Any], repeats: int) -> Timing:
    return Timing.of([1000 * _seconds(work) for _ in range(repeats)])


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
