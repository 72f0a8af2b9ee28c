"""Distils several students at once on a GPU: every window new, rendered there, three teachers asked about it.

    python3 -m benchmarks.l3mini.gpu_distil --data benchmarks/l3mini/.carry --out OUT --seconds 560

It needs PyTorch, NumPy, soundfile and the files of `bundle`, not l3clf. It stops by the clock, so that a lease is
used to its end; a run that was stopped goes on with ``--resume OUT``. On a CPU it does the same in hours. Students
leave as ``L.npz``, ``B.npz``, ``S.npz``, which `gpu_students` makes into student files. README.md tells all steps.

Rule: targets are half-whitened and turned; a student's embedding has a part for each of some teachers, as its layout
says, and its features shall also give the vectors of the others, through layers that are dropped.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.l3mini import cpu_pace, gpu_kernels
from benchmarks.l3mini.gpu_network import STUDENTS, Layout, Network, layout_of, measured, patches
from benchmarks.l3mini.gpu_render import Renderer
from benchmarks.l3mini.gpu_targets import AIMS, NAMES, Targets, ridge
from benchmarks.l3mini.gpu_teachers import Mn04, Speech, YamNet, levels_of

STEPS = 32  # of the front-end, that are 1.0
FRAMES, BANDS = 95, 64
EXTRA = 96  # components of the targets that only the features shall give
WEIGHT_DECAY, MAX_NORM = 2e-2, 2.0
WARM_UP, LAST_RATE = 0.03, 0.004
AVERAGED = 0.999  # of the mean weights, from step to step
FIRST = "the first l3mini"
LAST_S, SAVING_S = 30, 3  # kept for what comes after the last step
NOTE_S, SAVE_S = 20, 60
LEVELS = 2000  # windows that are written for the integers' ranges


@dataclass
class Student:
    """A network that learns, and what belongs to it."""

    name: str
    layout: Layout
    network: Network
    extras: nn.ModuleList  # from features to the targets that the embedding does not hold
    optimizer: Any
    rows: Tensor  # what each target counts in each row of a batch
    mean: list[Tensor] = field(default_factory=list)  # of its weights over the last steps
    seen: Tensor | None = None  # sums of the cosines since the last note
    count: int = 0

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that learns."""
        return [*self.network.parameters(), *self.extras.parameters()]


class Lesson:
    """A batch: the students' input, and the vectors of the teachers.

    The speech embedding hears the rows of `asked`; its vectors of others are zeros, which must not count.
    """

    def __init__(self, school: "School", x: Tensor, asked: slice = slice(None)) -> None:
        self.input = patches(levels_of(x, school.mel, school.hann, STEPS), school.dtype)
        embedding, scores = school.mn04(x)
        heard = school.speech(x[asked])
        speech = heard.new_zeros(len(x), heard.shape[1])
        speech[asked] = heard
        self.vectors = (embedding, speech, school.yamnet(x), scores)


class School:
    """Sounds, teachers and students."""

    def __init__(self, options: argparse.Namespace, device: str) -> None:
        self.options, self.device = options, device
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.compiled: Any = cpu_pace.compiled if options.compile else lambda function: function
        self.sounds = Renderer(options.data, device, options.batch, options.part, self.compiled)
        with np.load(options.data / "teachers.npz") as file:
            self.arrays = {name: file[name] for name in file.files}
        self._call(torch.float16 if device == "cuda" else cpu_pace.half_type())
        self.mel = torch.from_numpy(self.arrays["student_mel"].copy()).to(device)
        self.hann = torch.hann_window(512, device=device)
        self.targets: list[Targets] = []
        self.matrices: dict[str, list[Tensor]] = {}
        self.students: list[Student] = []
        self.done_s, self.steps = 0.0, 0
        self.counts = {name: torch.tensor(aim.weights, device=device) for name, aim in AIMS.items()}

    def _rows(self, name: str) -> Tensor:
        """What each target counts in each row of a batch, each in sum 1."""
        sounds = torch.ones(self.options.batch, device=self.device)
        sounds[self.sounds.spoken], other = AIMS[name].crossed
        speech = torch.zeros(self.options.batch, device=self.device)
        speech[self.sounds.asked] = other
        speech[self.sounds.spoken] = 1
        return torch.stack([w / w.sum() for w in (sounds, speech, sounds, sounds)])

    def _call(self, half: torch.dtype) -> None:
        """Call the teachers, their networks in `half`."""
        self.mn04, self.speech, self.yamnet = (
            self.compiled(one(self.arrays, self.device, half).__call__) for one in (Mn04, Speech, YamNet)
        )
        self.half = half

    # --- before the first step -------------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, batches: int) -> None:
        """Find the targets' components."""
        parts = self._vectors(batches)
        if not all(part.isfinite().all() for part in parts):
            print("teachers in bfloat16: their float16 overflows", flush=True)
            self._call(torch.bfloat16)
            parts = self._vectors(batches)
        self.targets = [Targets(part, seed) for seed, part in enumerate(parts, 1)]

    def _vectors(self, batches: int) -> list[Tensor]:
        asked = self.sounds.asked
        found = [Lesson(self, self.sounds.render(), asked).vectors for _ in range(batches)]
        return [torch.cat([v[i][asked] if i == 1 else v[i] for v in found]) for i in range(len(NAMES))]

    def admit(self, names: Sequence[str], start: Path | None) -> None:
        """Make the students; the networks of those that `start` has weights of begin with these."""
        for name in names:
            layout = STUDENTS[name]
            self.matrices[name] = [
                t.projection(size or EXTRA) for t, size in zip(self.targets, layout.parts, strict=True)
            ]
            torch.manual_seed(0)
            network = Network(layout, FRAMES, BANDS).to(self.device)
            others = [nn.Linear(network.embedding.in_features, EXTRA) for size in layout.parts if not size]
            extras = nn.ModuleList(others).to(self.device)
            # All of a size are called by one letter, and what follows tells their aims.
            if start is not None and (path := start / f"{name[0]}.npz").exists():
                self._start(name, network, extras, path)
            self._enrol(name, network, extras)

    def _enrol(self, name: str, network: Network, extras: nn.ModuleList) -> None:
        parameters = [*network.parameters(), *extras.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=AIMS[name].rate, fused=self.device == "cuda")
        mean = [p.detach().clone() for p in parameters]
        self.students.append(Student(name, STUDENTS[name], network, extras, optimizer, self._rows(name), mean))
        print(f"{name}: {sum(p.numel() for p in network.parameters())} parameters", flush=True)

    @torch.no_grad()
    def _start(self, name: str, network: Network, extras: nn.ModuleList, path: Path) -> None:
        """Take a trained network's convolutions, and solve the last layers for the targets."""
        with np.load(path) as file:
            kept = {n: torch.from_numpy(file[n]) for n in network.state_dict() if not n.startswith("embedding")}
        network.load_state_dict(kept, strict=False)
        network.eval()
        lessons = [Lesson(self, self.sounds.render()) for _ in range(4)]
        features = torch.cat([network.features(lesson.input) for lesson in lessons])
        found = [torch.cat([self._wanted(name, lesson, i) for lesson in lessons]) for i in range(len(NAMES))]
        held, left = (
            [f for f, size in zip(found, STUDENTS[name].parts, strict=True) if bool(size) == in_embedding]
            for in_embedding in (True, False)
        )
        for layer, wanted in zip((network.embedding, *extras), (torch.cat(held, 1), *left), strict=True):
            weight, bias = ridge(features, wanted)
            layer.weight.copy_(weight.T)
            layer.bias.copy_(bias)

    def _folded(self) -> list[Tensor]:
        names = sorted(name for name in self.arrays if name.startswith("l3mini"))
        return [torch.from_numpy(self.arrays[name]).to(self.device) for name in names]

    # --- learning ----------------------------------------------------------------------------------------

    def _wanted(self, name: str, lesson: Lesson, teacher: int) -> Tensor:
        return (lesson.vectors[teacher] - self.targets[teacher].mean) @ self.matrices[name][teacher]

    def _cosines(self, student: Student, lesson: Lesson) -> list[Tensor]:
        """The cosine of each row to each target."""
        features, embedding = student.network(lesson.input)
        parts = iter(embedding.split([size for size in student.layout.parts if size], 1))
        others = iter(student.extras)
        answers = [next(parts) if size else next(others)(features) for size in student.layout.parts]
        return [
            functional.cosine_similarity(answer, self._wanted(student.name, lesson, i))
            for i, answer in enumerate(answers)
        ]

    def _means(self, student: Student, lesson: Lesson) -> Tensor:
        """The mean cosine to each target over the rows, those that count less weighted so."""
        return (torch.stack(self._cosines(student, lesson)) * student.rows).sum(1)

    def step(self, share: float) -> None:
        """Learn from one new batch; `share` of the time has passed."""
        falling = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        rate = min(1.0, share / WARM_UP + 0.01) * falling
        with torch.no_grad():
            lesson = Lesson(self, self.sounds.render(), self.sounds.asked)
        for student in self.students:
            student.network.train()
            means = self._means(student, lesson)
            loss = (self.counts[student.name] * (1 - means)).sum()
            student.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters, MAX_NORM)
            for group in student.optimizer.param_groups:
                group["lr"] = AIMS[student.name].rate * rate
            student.optimizer.step()
            with torch.no_grad():
                kept = min(AVERAGED, (1 + self.steps) / (10 + self.steps))
                torch._foreach_lerp_(student.mean, student.parameters, 1 - kept)
            student.seen = means.detach() if student.seen is None else student.seen + means.detach()
            student.count += 1
        self.steps += 1

    def train(self, until_s: float, save: bool) -> None:
        """Learn until the clock says `until_s`, noting and saving now and then."""
        begun = time.monotonic()
        total = self.done_s + max(until_s - begun, 1e-6) + self.options.more
        before, noted, saved, first = self.done_s, begun, begun, self.steps
        while (now := time.monotonic()) < until_s:
            self.step((before + now - begun) / total)
            self.done_s = before + now - begun
            if now - noted > NOTE_S or self.steps - first in (5, 50):
                self._note(now - begun, self.steps - first)
                noted = now
            if save and now - saved > SAVE_S:
                self.save()
                saved = now

    def _note(self, seconds: float, steps: int) -> None:
        found = {s.name: [round(float(v) / s.count, 4) for v in s.seen] for s in self.students if s.seen is not None}
        speed = steps * self.options.batch / seconds
        print(f"{seconds:.0f} s, step {self.steps}, {speed:.0f} windows/s", found, flush=True)
        for student in self.students:
            student.seen, student.count = None, 0

    # --- after the last step -----------------------------------------------------------------------------

    @torch.no_grad()
    def finish(self, batches: int, held: int) -> None:
        """Settle each student's statistics, with its last weights and with their mean; write what is better."""
        tests = self._held_out(held)
        inputs = [self._input() for _ in range(batches)]
        self._write_levels(self.sounds.render())
        for student in self.students:
            last = [p.detach().clone() for p in student.parameters]
            results = []
            for weights in (last, student.mean):
                torch._foreach_copy_(student.parameters, weights)
                _settle(student.network, inputs)
                means = torch.stack([self._test(student, lesson) for lesson in tests]).mean(0)
                state = {name: value.clone() for name, value in student.network.state_dict().items()}
                results.append((float((means * self.counts[student.name]).sum()), means.tolist(), state))
            best = max(results, key=lambda one: one[0])
            for label, (_, means, _) in zip(("last", "mean"), results, strict=True):
                print(f"{student.name}, {label} weights: held out", [round(v, 4) for v in means], flush=True)
            student.network.load_state_dict(best[2])
            self.write(student, best[1])
            torch._foreach_copy_(student.parameters, last)

    def _write_levels(self, x: Tensor) -> None:
        """Write some windows' levels as integers, on which ranges can be measured."""
        chosen = x[torch.randperm(len(x), device=self.device)[:LEVELS]]
        levels = levels_of(chosen, self.mel, self.hann, STEPS) * STEPS
        np.savez_compressed(self.options.out / "levels.npz", levels=levels.cpu().numpy().astype(np.int8))

    def _input(self) -> Tensor:
        return patches(levels_of(self.sounds.render(), self.mel, self.hann, STEPS), torch.float32)

    def _held_out(self, batches: int) -> list[Lesson]:
        torch.manual_seed(1)
        found = [Lesson(self, self.sounds.render_held_out()) for _ in range(batches)]
        torch.manual_seed(self.steps + 2)
        return found

    def _test(self, student: Student, lesson: Lesson) -> Tensor:
        student.network.eval()
        return torch.stack([cosines.mean() for cosines in self._cosines(student, lesson)])

    @torch.no_grad()
    def read_out(self, names: Sequence[str], batches: int, held: int) -> None:
        """Print how well a linear layer on embeddings gives each teacher's, beside the first l3mini's; note it."""
        shipped = Network(Layout(32, STUDENTS["L"].blocks, (0, 48, 144, 0)), FRAMES, BANDS).to(self.device)
        shipped.take_folded(self._folded())
        networks = {FIRST: shipped} | {name: self._written(name) for name in names}
        lessons = [Lesson(self, self.sounds.render()) for _ in range(batches)]
        tests = self._held_out(held)
        wanted = [self._whole(lesson) for lesson in lessons]
        for name, network in networks.items():
            network.eval()
            embeddings = [network(lesson.input)[1] for lesson in lessons]
            found = []
            for i in range(len(NAMES)):
                weight, bias = ridge(torch.cat(embeddings), torch.cat([one[i] for one in wanted]))
                cosines = [
                    functional.cosine_similarity(network(t.input)[1] @ weight + bias, self._whole(t)[i]).mean()
                    for t in tests
                ]
                found.append(round(float(torch.stack(cosines).mean()), 4))
            print(f"{name}: read out, held out", dict(zip(NAMES, found, strict=True)), flush=True)
            if name != FIRST:
                self._note_read_out(name, found)

    def _whole(self, lesson: Lesson) -> list[Tensor]:
        """Each teacher's vectors, half-whitened, up to 128 components."""
        sizes = [min(128, vectors.shape[1]) for vectors in lesson.vectors]
        return [
            (vectors - t.mean) @ t.projection(size)
            for vectors, t, size in zip(lesson.vectors, self.targets, sizes, strict=True)
        ]

    def _written(self, name: str) -> Network:
        with np.load(self.options.out / f"{name}.npz") as file:
            network = Network(layout_of(file), FRAMES, BANDS)
            network.load_state_dict({n: torch.from_numpy(file[n]) for n in network.state_dict()})
        network.to(self.device)
        return network

    def _note_read_out(self, name: str, found: Sequence[float]) -> None:
        path = self.options.out / f"{name}.npz"
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path.with_suffix(".part.npz"), **arrays | {"read_out": np.array(found)})
        path.with_suffix(".part.npz").replace(path)

    def write(self, student: Student, held_out: Sequence[float]) -> None:
        """Write a student's weights, what its targets were, and its figures."""
        arrays = {name: value.cpu().numpy() for name, value in student.network.state_dict().items()}
        for i in [i for i, size in enumerate(student.layout.parts) if size]:
            name = NAMES[i]
            arrays[f"{name}.mean"] = self.targets[i].mean.cpu().numpy()
            arrays[f"{name}.matrix"] = self.matrices[student.name][i].cpu().numpy()
        strides = [stride for _, stride in student.layout.blocks]
        about: dict[str, Any] = {"parts": student.layout.parts, "strides": strides, "held_out": held_out}
        about["windows"] = self.steps * self.options.batch
        part = self.options.out / f"{student.name}.part.npz"
        arrays |= {name: np.array(value) for name, value in about.items()}
        np.savez(part, **arrays)
        part.replace(self.options.out / f"{student.name}.npz")

    # --- checkpoints -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a file for each student, from which a run can go on."""
        for student in self.students:
            moments = [
                {key: value.to(torch.bfloat16) if value.ndim else value for key, value in one.items()}
                for one in student.optimizer.state_dict()["state"].values()
            ]
            parts: dict[str, Any] = {"network": student.network.state_dict(), "extras": student.extras.state_dict()}
            parts |= {"moments": moments, "mean": [value.to(torch.float32) for value in student.mean]}
            parts |= {"done_s": self.done_s, "steps": self.steps}
            if student is self.students[0]:
                parts["targets"] = [{"mean": t.mean, "values": t.values, "axes": t.axes.float()} for t in self.targets]
            path = self.options.out / f"checkpoint_{student.name}.pt"
            torch.save(parts, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)

    def resume(self, folder: Path, names: Sequence[str]) -> None:
        """Go on from a folder's checkpoints."""
        first = torch.load(folder / f"checkpoint_{names[0]}.pt", map_location=self.device, weights_only=True)
        for target, kept in zip(self.targets, first["targets"], strict=True):
            target.mean, target.values, target.axes = kept["mean"], kept["values"], kept["axes"].double()
        self.admit(names, None)
        self.done_s, self.steps = first["done_s"], first["steps"]
        torch.manual_seed(self.steps + 3)  # or the windows of before would come again
        for student in self.students:
            kept = torch.load(folder / f"checkpoint_{student.name}.pt", map_location=self.device, weights_only=True)
            student.network.load_state_dict(kept["network"])
            student.extras.load_state_dict(kept["extras"])
            student.mean = kept["mean"]
            state = student.optimizer.state_dict()
            state["state"] = dict(enumerate(kept["moments"]))
            student.optimizer.load_state_dict(state)


@torch.no_grad()
def _settle(network: Network, inputs: Sequence[Tensor]) -> None:
    """Measure the statistics of all normalisations anew, in float32."""
    network.train()
    with measured(network):
        for x in inputs:
            network.features(x)


def _timed(school: School) -> None:
    """Print what a step's parts take."""

    def clock(name: str, work: Any) -> Any:
        _wait()
        begun = time.monotonic()
        found = work()
        _wait()
        print(f"  {name}: {1000 * (time.monotonic() - begun):.1f} ms", flush=True)
        return found

    with torch.no_grad():
        x = clock("render", school.sounds.render)
        for name, teacher in (("mn04", school.mn04), ("speech", school.speech), ("yamnet", school.yamnet)):
            clock(name, lambda teacher=teacher: teacher(x))
        clock("input", lambda: patches(levels_of(x, school.mel, school.hann, STEPS), school.dtype))
        lesson = Lesson(school, x)
    for student in school.students:
        clock(f"student {student.name}", lambda s=student: school._means(s, lesson).sum().backward())
        student.optimizer.zero_grad(set_to_none=True)
    clock("whole step", lambda: school.step(0.0))
    if torch.cuda.is_available():
        print(f"  memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("benchmarks/l3mini/.carry"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=560, help="from the start of the process to its end")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--students", default="L,B,S")
    parser.add_argument("--part", type=int, default=1, help="every how many streams of sounds are read")
    parser.add_argument("--measured", type=int, default=20, help="batches for statistics")
    parser.add_argument("--more", type=float, default=0, help="seconds of training that a later --resume will add")
    parser.add_argument("--start", type=Path, help="a folder with weights of networks to begin with")
    parser.add_argument("--resume", type=Path, help="a folder with checkpoints of a run to go on with")
    parser.add_argument(
        "--compile", action="store_true", help="compile teachers and rendering: pays on a CPU, in hours"
    )
    parser.add_argument("--read-out", action="store_true", help="measure the students in --out, without training")
    parser.add_argument("--dry-run", action="store_true", help="a few steps of everything, with times")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run as the command line says."""
    begun, options = time.monotonic(), _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    if options.dry_run:
        options.part, options.measured, options.seconds = max(options.part, 10), 2, 0
    print(f"PyTorch {torch.__version__} on {device}; {gpu_kernels.choose()}", flush=True)
    school = School(options, device)
    print(f"{school.sounds.hours:.2f} h of sounds, {time.monotonic() - begun:.0f} s", flush=True)
    school.measure(options.measured)
    names = options.students.split(",")
    if options.read_out:
        school.read_out(names, options.measured, max(1, options.measured // 4))
        return
    if options.resume:
        school.resume(options.resume, names)
    else:
        school.admit(names, options.start)
    print(f"ready, {time.monotonic() - begun:.0f} s", flush=True)
    _timed(school)
    if options.dry_run:
        for _ in range(2):
            _timed(school)
        school.train(time.monotonic() + 3, save=False)
        school.save()
    else:
        school.train(begun + options.seconds - (SAVING_S if options.more else LAST_S), save=True)
        school.save()
    if options.more:
        return
    school.finish(options.measured, max(1, options.measured // 4))
    school.read_out(names, options.measured, max(1, options.measured // 4))
    print(f"{school.steps} steps, {school.steps * options.batch} windows, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
