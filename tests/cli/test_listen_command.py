"""``l3clf listen``: what is heard, by line and by program; how it ends."""

import io
import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.fake_portaudio import FakeSoundDevice
from helpers.processes import start_l3clf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import l3clf
from l3clf.cli import listen_command
from l3clf.streaming import microphone
from l3clf.streaming.stream_classifier import StreamClassifier

RATE = 16_000


def tone(hz, seconds=2.0, seed=0):
    t = np.arange(int(seconds * RATE)) / RATE
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    return (0.3 * np.sin(2 * np.pi * hz * t) + noise).astype(np.float32)


@pytest.fixture
def sound():
    """Two seconds each: low, silence, high."""
    return np.concatenate([tone(220), np.zeros(2 * RATE, np.float32), tone(2400)])


def wav(samples):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture
def pipe(monkeypatch):
    def pipe_in(data, is_terminal=False):
        stdin = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: is_terminal)
        monkeypatch.setattr(sys, "stdin", stdin)

    return pipe_in


@pytest.fixture
def plug(monkeypatch):
    def plug_in(*scripts, **how):
        monkeypatch.setattr(microphone, "TRY_AGAIN_S", 0.01)
        monkeypatch.setitem(sys.modules, "sounddevice", FakeSoundDevice(scripts, **how))

    return plug_in


def records(out):
    return [json.loads(line) for line in out.splitlines()]


def blocks(samples):
    return [*np.split(samples, range(800, len(samples), 800))]


def test_a_program_reads_each_decision(run, pipe, model, sound):
    pipe(wav(sound))
    status, out, err = run("listen", model, "-", "--format", "jsonl", "--windows", 3, "--hop", 0.25)
    assert status == 0
    expected = StreamClassifier(l3clf.load_model(model), 0.25, 3)
    decisions = expected.push(sound, RATE) + expected.flush()
    found = records(out)
    assert [each["label"] for each in found] == [each.label for each in decisions]
    for record, decision in zip(found, decisions, strict=True):
        assert record["type"] == "decision"
        for name in ("start_s", "end_s", "probability", "unknown_score"):
            assert record[name] == pytest.approx(getattr(decision, name), abs=1e-6)
        assert list(record["probabilities"]) == ["high", "low"]
    assert err.count("\n") == 1
    assert "6.0 s of sound, 21 decisions" in err
    assert "times as fast as real time; latency" in err


def test_a_person_reads_each_change(run, pipe, model, sound):
    pipe(wav(sound))
    status, out, _ = run("listen", model, "-", "--windows", 1, "--gate-dbfs", -40)
    assert status == 0
    assert [line.split()[2] for line in out.splitlines()] == ["low", "unknown", "high"]
    assert out.splitlines()[0] == "     1.000 s  low  " + out.split()[3]


def test_the_gate_stays_open_as_far_as_is_asked(run, pipe, model):
    fading = np.concatenate([tone(220), np.float32(0.05) * tone(220), np.float32(0.001) * tone(220)])
    heard = []
    for more in ((), ("--gate-hysteresis", 30)):
        pipe(wav(fading))
        status, out, _ = run("listen", model, "-", "--windows", 1, "--gate-dbfs", -20, "--format", "jsonl", *more)
        assert status == 0
        heard.append(sum(each["label"] != "unknown" for each in records(out)))
    assert heard[0] < heard[1] < len(records(out))
    learned = l3clf.load_model(model).set_params(gate_dbfs="auto")
    learned.gate_dbfs_, learned.gate_hysteresis_db_ = -20.0, 30.0
    l3clf.save_model(learned, model)
    for more, expected in (((), heard[1]), (("--gate-hysteresis", 0), heard[0])):
        pipe(wav(fading))
        status, out, _ = run("listen", model, "-", "--windows", 1, "--format", "jsonl", *more)
        assert sum(each["label"] != "unknown" for each in records(out)) == expected


def test_raw_samples(run, pipe, model, sound):
    pipe((sound * 32767).astype("<i2").tobytes())
    status, out, _ = run("listen", model, "-", "--windows", 1, "--gate-dbfs", -40, "--rate", RATE)
    assert status == 0
    assert [line.split()[2] for line in out.splitlines()] == ["low", "unknown", "high"]
    pipe(np.repeat(sound, 2).astype("<f4").tobytes())
    raw = ("--rate", RATE, "--channels", 2, "--dtype", "float32")
    status, out, _ = run("listen", model, "-", "--windows", 1, "--gate-dbfs", -40, *raw)
    assert status == 0
    assert [line.split()[2] for line in out.splitlines()] == ["low", "unknown", "high"]


def test_the_full_scale_is_of_floating_point(run, pipe, model, sound):
    labels = []
    for data in (wav(sound), wav(sound * 32768)):
        pipe(data)
        scale = () if not labels else ("--full-scale", 32768)
        status, out, _ = run("listen", model, "-", "--format", "jsonl", *scale)
        assert status == 0
        labels.append([(each["label"], round(each["probability"], 4)) for each in records(out)])
    assert labels[0] == labels[1]


def test_a_file_is_played(run, model, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(220, 1.2), RATE)
    begun = time.perf_counter()
    status, out, _ = run("listen", model, tmp_path / "a.wav")
    assert (status, out.split()[2]) == (0, "low")
    assert time.perf_counter() - begun > 1.2


def test_a_microphone_that_loses_sound_changes_its_rate_and_vanishes(run, plug, model, sound):
    first, second = sound[: 2 * RATE], sound[4 * RATE :]
    plug(
        [*blocks(first), ("overflow", 0.5), *blocks(second), "gone"],
        [*blocks(second[::2]), "gone"],
        rates=(RATE, RATE // 2, RATE),
    )
    status, out, err = run("listen", model, "--format", "jsonl", "--windows", 1)
    assert status == 1
    found = records(out)
    gaps = [each for each in found if each["type"] == "gap"]
    assert [round(gaps[0][name], 6) for name in ("start_s", "end_s")] == [2.0, 2.5]
    assert gaps[1]["start_s"] == 4.5
    assert "was opened at 8,000 Hz" in gaps[1]["reason"]
    heard = [each["label"] for each in found if each["type"] == "decision"]
    assert heard == ["low"] * 3 + ["high"] * 6  # each piece whole: nothing is lost that came
    assert found[-1]["end_s"] == pytest.approx(gaps[1]["end_s"] + 2.0)
    assert err.splitlines()[0] == "listening to the microphone; Ctrl-C ends it"
    assert "lost in 2 gaps" in err
    assert err.splitlines()[-1].startswith("l3clf: microphone 'Microphone': stopped")


def test_lost_sound_is_a_line(run, plug, model, sound):
    plug([*blocks(sound[:RATE]), ("overflow", 0.5), *blocks(sound[:RATE]), "overflow", *blocks(sound[:RATE]), "gone"])
    _, out, _ = run("listen", model)
    lines = [line for line in out.splitlines() if "lost" in line]
    assert lines == [
        "     1.000 s  0.500 s of sound lost: sound came faster than it could be taken",
        "     2.500 s  some of sound lost: sound came faster than it could be taken",
    ]
    assert sum("low" in line for line in out.splitlines()) == 3  # said again after each gap


def test_sounds_are_kept(run, pipe, model, sound, tmp_path):
    pipe(wav(sound))
    folder = tmp_path / "kept"
    status, _, err = run("listen", model, "-", "--windows", 1, "--gate-dbfs", -40, "--save", folder)
    assert status == 0
    assert "2 sounds kept" in err
    names = sorted(path.name for path in folder.iterdir())
    assert [name.split("_")[1] for name in names] == ["low.wav", "high.wav"]
    low, high = (soundfile.read(folder / name)[0] for name in names)
    np.testing.assert_allclose(low[:RATE], sound[:RATE], atol=2e-7)
    np.testing.assert_allclose(high[-RATE:], sound[-RATE:], atol=2e-7)


def test_devices_are_listed(run, plug, monkeypatch):
    plug(devices=("Built-in", "Head\x1b[31mset"))
    status, out, _ = run("listen", "--list-devices")
    assert status == 0
    assert out.splitlines() == ["  0  Built-in  16,000 Hz", "  1  Head\\x1b[31mset  16,000 Hz"]
    plug(devices=())
    assert run("listen", "--list-devices")[::2] == (0, "no microphone was found\n")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    status, _, err = run("listen", "--list-devices")
    assert status == 1
    assert err.startswith("l3clf: microphone: needs sounddevice")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--rate", 16_000], 1, "--rate: is of raw PCM; give - for standard input"),
        (["a.wav", "--device", "1"], 1, "--device: is of the microphone; leave out a.wav, or the device"),
        (["missing.wav"], 1, "missing.wav: no such file"),
        (["-"], 1, "standard input: holds no samples"),
        (["-", "--windows", 0], 1, "--windows 0; expected a whole number of at least 1"),
        (["-", "--rate", 5], 1, "standard input: sample rate of 5.0 Hz"),
        (["-", "--rate", 8000, "--channels", 0], 1, "--channels 0; expected 1 to 64"),
        (["-", "--channels", 2], 1, "--channels 2: is of raw PCM, which has no rate; give --rate, too"),
        (["a.wav", "--dtype", "int16"], 1, "--dtype int16: is of raw PCM, which has no rate; give --rate, too"),
        (["-", "--gate-dbfs", -40, "--gate-hysteresis", -3], 1, "--gate-hysteresis -3.0; expected a number from 0"),
        (["-", "--rate", "x"], 2, "expected a number greater than 0"),
        (["--device", "Phone"], 1, "--device Phone: No input device matching 'Phone'; choose one that"),
    ],
)
def test_what_cannot_be_heard_is_one_sentence(run, pipe, plug, model, arguments, status, message):
    pipe(b"")
    plug([])
    found, out, err = run("listen", model, *arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1 or status == 2


def test_a_terminal_is_no_sound(run, pipe, model):
    pipe(b"", is_terminal=True)
    status, _, err = run("listen", model, "-")
    assert (status, err.count("\n")) == (1, 1)
    assert "nothing is piped into it" in err


def test_sound_that_is_damaged_ends_after_what_came(run, pipe, model, sound):
    pipe(wav(sound)[: 4 * 3 * RATE])
    status, out, err = run("listen", model, "-", "--format", "jsonl")
    assert status == 1
    assert len(records(out)) == 5
    assert "is cut off" in err.splitlines()[-1]


def test_the_live_line_of_a_terminal(capsys):
    decision = SimpleNamespace(label="dog\x1b", probability=0.5, end_s=75.25, level_dbfs=-31.6)
    screen = listen_command._Lines(is_live=True)
    screen.show([decision])
    screen.show([decision])
    screen.close()
    lines = capsys.readouterr().out.split("\r")
    assert lines[0] == "    75.250 s  dog\\x1b  0.50\n"
    assert lines[1] == lines[2] == "    1:15.2  [##########..........]  -32 dBFS  dog\\x1b"
    assert lines[3].strip() == lines[4] == ""


# A tagger


@pytest.fixture
def tagger(tmp_path):
    """A model file of a tagger of low and high tones, which may sound at once."""
    low, high = [tone(200 + 20 * k, 1.0, k) for k in range(6)], [tone(2200 + 100 * k, 1.0, k) for k in range(6)]
    X = [*low, *high, *(a + b for a, b in zip(low, high, strict=True))]
    tags = ["low"] * 6 + ["high"] * 6 + ["high|low"] * 6
    head = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=3000))  # sure of what is easy
    model = l3clf.ClipTagger("mfcc", head, center=False, sample_rate=RATE, cache=None, threshold=0.5).fit(X, tags)
    return l3clf.save_model(model, tmp_path / "tagger.l3clf")


def test_a_program_reads_the_tags_of_each_decision(run, pipe, tagger, sound):
    both = sound + np.roll(sound, 2 * RATE)
    pipe(wav(both))
    status, out, _ = run("listen", tagger, "-", "--format", "jsonl", "--windows", 1)
    assert status == 0
    expected = StreamClassifier(l3clf.load_model(tagger), windows=1)
    decisions = expected.push(both, RATE) + expected.flush()
    found = records(out)
    assert [each["tags"] for each in found] == [list(each.labels) for each in decisions]
    assert {tuple(each["tags"]) for each in found} >= {("low",), ("high", "low")}
    for record, decision in zip(found, decisions, strict=True):
        assert list(record) == ["type", "start_s", "end_s", "tags", "level_dbfs", "probabilities"]
        assert list(record["probabilities"]) == ["high", "low"]
        assert list(record["probabilities"].values()) == pytest.approx(decision.probabilities, abs=1e-6)


def test_a_person_reads_the_tags_that_change(run, pipe, tagger, tmp_path):
    pipe(wav(np.concatenate([tone(220), np.zeros(2 * RATE, np.float32), tone(2400) + tone(220)])))
    kept = tmp_path / "kept"
    status, out, err = run("listen", tagger, "-", "--windows", 1, "--gate-dbfs", -40, "--save", kept)
    assert status == 0
    lines = [line.split(" s  ")[1].rsplit("  ", 1) for line in out.splitlines()]
    assert [heard for heard, _ in (lines[0], lines[-1])] == ["low", "high|low"]
    assert "no tag" in [heard for heard, _ in lines]
    assert len(lines[-1][1].split()) == 2  # the probability of each
    assert {path.stem.split("_")[1] for path in kept.iterdir()} == {"low", "high"}
    assert "3 sounds kept" in err
    status, _, err = run("listen", tagger, "-", "--unknown-threshold", 0.5)
    assert status == 1
    assert "--unknown-threshold: " in err
    assert "has several labels at a time and no unknown; omit it" in err


# As a process


@pytest.fixture
def process(model, sound):
    """A process that has decided about what is in its pipe and waits for more."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with start_l3clf("listen", model, "-", "--rate", RATE, **pipes) as started:
        started.stdin.write((sound[: 2 * RATE] * 32767).astype("<i2").tobytes())
        started.stdin.flush()
        assert b"low" in started.stdout.readline()
        yield started
        started.kill()


def test_ctrl_c_ends_it_well(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"2.0 s of sound, 3 decisions" in err
    assert err.count(b"\n") == 1
    assert out == b""


def test_the_reader_of_the_output_may_go(process):
    process.stdout.close()
    try:
        for hz in (2400, 220) * 20:
            process.stdin.write((tone(hz, 6.0) * 32767).astype("<i2").tobytes())
            process.stdin.flush()
    except BrokenPipeError:
        pass
    process.stdin.close()
    assert process.wait(30) == 1
    assert process.stderr.read() == b""


def test_ctrl_c_closes_the_microphone(run, plug, model, sound, monkeypatch):
    plug([*blocks(sound[: 2 * RATE]), "hang"])

    calls = []

    def interrupted(seconds):
        calls.append(sys.modules["sounddevice"].played.is_set())
        if calls[-2:] == [True, True]:  # all was read between the two
            raise KeyboardInterrupt

    monkeypatch.setattr(microphone.time, "sleep", interrupted)
    status, out, err = run("listen", model, "--format", "jsonl")
    assert status == 0
    assert [each["end_s"] for each in records(out)] == [1.0, 1.5, 2.0]
    assert "2.0 s of sound, 3 decisions" in err
    assert sys.modules["sounddevice"].closed == 1
