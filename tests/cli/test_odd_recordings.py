"""A folder of odd recordings, as phones and recorders leave them: each has its right length, or is named."""

import contextlib
import csv
import io
import re
import warnings
from pathlib import Path

import pytest
from helpers.ffmpeg_files import decoded_s, encoders, hide_ffmpeg, run_ffmpeg
from helpers.sound_files import cut, noise, put, tone, write

from l3clf.audio.clip import Clip
from l3clf.audio.decode import load
from l3clf.cli.main import main
from l3clf.errors import ClipWarning

RATE = 16_000
STREAM = ("-write_xing", 0, "-id3v2_version", 0)  # as a recorder that cannot go back to the header
# Written by ffmpeg: name, encoder, options.
WRITTEN = {
    "vbr.mp3": ("libmp3lame", "-q:a", 5),
    "vbr-stream.mp3": ("libmp3lame", "-q:a", 5, *STREAM),
    "vbr-stream-stereo.mp3": ("libmp3lame", "-q:a", 2, "-ac", 2, "-ar", 44_100, *STREAM),
    "abr-stream.mp3": ("libmp3lame", "-abr", 1, "-b:a", "48k", *STREAM),
    "cbr-stream.mp3": ("libmp3lame", "-b:a", "32k", *STREAM),
    "mpeg-2.5.mp3": ("libmp3lame", "-ar", 8000, "-q:a", 5, *STREAM),
    "tags.mp3": ("libmp3lame", "-q:a", 5, "-metadata", "title=x", "-write_id3v1", 1),
    "tags-stream.mp3": ("libmp3lame", "-q:a", 5, "-metadata", "title=x", "-write_id3v1", 1, "-write_xing", 0),
    "layer-2.mp2": ("mp2", "-b:a", "64k"),
    "mp3-inside.wav": ("libmp3lame", "-b:a", "32k"),
    "plain.wav": ("pcm_s16le",),
    "bytes.wav": ("pcm_u8",),
    "three-bytes.wav": ("pcm_s24le",),
    "doubles.wav": ("pcm_f64le",),
    "telephone.wav": ("pcm_alaw", "-ar", 8000),
    "adpcm.wav": ("adpcm_ima_wav",),
    "rf64.wav": ("pcm_s16le", "-rf64", "always"),
    "wma-inside.wav": ("wmav2",),
    "long.w64": ("pcm_s16le",),
    "apple.aiff": ("pcm_s16be",),
    "apple.caf": ("pcm_s16be",),
    "alac.caf": ("alac",),
    "sun.au": ("pcm_s16be",),
    "good.flac": ("flac",),
    "vorbis.ogg": ("libvorbis",),
    "opus.opus": ("libopus",),
    "flac.oga": ("flac",),
    "iphone.m4a": ("aac",),
    "iphone-stereo.m4a": ("aac", "-ac", 2, "-ar", 44_100),
    "lossless.m4a": ("alac",),
    "web.m4a": ("aac", "-movflags", "faststart"),
    "fragments.mp4": ("aac", "-movflags", "frag_keyframe+empty_moov"),
    "opus.mp4": ("libopus",),
    "radio.aac": ("aac",),
    "windows.wma": ("wmav2",),
    "browser.webm": ("libopus",),
    "browser-vorbis.webm": ("libvorbis",),
    "phone.amr": ("libopencore_amrnb", "-ar", 8000),
    "phone.3gp": ("libopencore_amrnb", "-ar", 8000),
    "camera.mov": ("pcm_s16le",),
    "matroska.mka": ("flac",),
    "wavpack.wv": ("wavpack",),
    "true.tta": ("tta",),
}
# Through a pipe, so that ffmpeg cannot go back to the header.
PIPED = {"pipe.wav": ("wav", "pcm_s16le"), "pipe.flac": ("flac", "flac"), "pipe.webm": ("webm", "libopus")}
# Made of others: name, sources, what is done with their bytes.
JOINED = {
    "joined.mp3": ("vbr.mp3", "tags.mp3"),
    "joined-stream.mp3": ("vbr-stream.mp3", "cbr-stream.mp3"),
    "joined.wav": ("plain.wav", "plain.wav"),
    "joined.flac": ("good.flac", "good.flac"),
    "chained.ogg": ("vorbis.ogg", "vorbis.ogg", "vorbis.ogg"),
    "chained.opus": ("opus.opus", "opus.opus"),
}
CHANGED = {
    "crashed.wav": ("plain.wav", lambda data: with_data_size(data, 0)),
    "wrapped.wav": ("plain.wav", lambda data: with_data_size(data, 12_000)),
    "begun-late.mp3": ("vbr-stream.mp3", lambda data: data[5001:]),
    "stopped.mp3": ("vbr-stream.mp3", lambda data: data[:-10]),
}
BROKEN = {
    "cut.mp3": ("vbr.mp3", lambda data: cut(data, 0.5)),
    "hole.mp3": ("vbr-stream.mp3", lambda data: data[:6000] + bytes(5000) + data[11_000:]),
    "two-rates.mp3": ("mpeg-2.5.mp3", "vbr-stream.mp3"),
    "cut.wav": ("plain.wav", lambda data: cut(data, 0.5)),
    "cut.flac": ("good.flac", lambda data: cut(data, 0.5)),
    "cut-pipe.flac": ("pipe.flac", lambda data: cut(data, 0.51)),
    "cut.ogg": ("vorbis.ogg", lambda data: cut(data, 0.9)),
    "cut-chain.ogg": ("chained.ogg", lambda data: cut(data, 0.9)),
    "cut.m4a": ("iphone.m4a", lambda data: cut(data, 0.5)),
    "cut-web.m4a": ("web.m4a", lambda data: cut(data, 0.8)),
    "cut.aac": ("radio.aac", lambda data: data[:-50]),
    "cut.webm": ("browser.webm", lambda data: cut(data, 0.8)),
    "cut.wma": ("windows.wma", lambda data: cut(data, 0.77)),
    "cut.wv": ("wavpack.wv", lambda data: cut(data, 0.77)),
    "text.m4a": ("plain.wav", lambda data: b"#EXTM3U\nplain.wav\n" * 9),
    "empty.m4a": ("plain.wav", lambda data: b""),
}
READ = [*WRITTEN, *PIPED, *JOINED, *CHANGED]


def with_data_size(data, size):
    at = data.index(b"data") + 4
    return data[:at] + size.to_bytes(4, "little") + data[at + 4 :]


def encoder_of(name):
    """The encoder of a recording, or of the first that it is made of."""
    if name in WRITTEN:
        return WRITTEN[name][0]
    return PIPED[name][1] if name in PIPED else encoder_of({**JOINED, **CHANGED, **BROKEN}[name][0])


def make_recordings(folder):
    """Write every recording for which this ffmpeg has an encoder; return the folder."""
    source = write(folder / "source.wav", [*tone(300, 1.0, RATE, 0.002), *noise(3 * RATE // 2, level=0.2)])
    target = folder / "odd"
    target.mkdir()
    known = encoders()
    outputs = [(name, *how) for name, how in WRITTEN.items() if how[0] in known]
    run_ffmpeg("-i", source, *(word for name, how, *more in outputs for word in ("-c:a", how, *more, target / name)))
    for name, (container, encoder) in PIPED.items():
        if encoder in known:
            put(target / name, run_ffmpeg("-i", source, "-c:a", encoder, "-f", container, "-"))
    for name, parts in {**JOINED, **CHANGED, **BROKEN}.items():
        if encoder_of(name) in known and (target / parts[0]).exists():
            data = [part if callable(part) else (target / part).read_bytes() for part in parts]
            put(target / name, data[1](data[0]) if callable(data[1]) else b"".join(data))
    return target


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """What ``l3clf predict`` prints for the folder: its status, the names that it answers, and its messages."""
    base = tmp_path_factory.mktemp("recordings")
    folder = make_recordings(base)
    for label, sound in (("tone", tone(300)), ("noise", noise(8000))):
        (base / "train" / label).mkdir(parents=True)
        write(base / "train" / label / "a.wav", sound)
    cache = ("--cache", base / "cache.sqlite")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always", ClipWarning)
        run("fit", base / "train", "--embedder", "mfcc", "--out", base / "m.l3clf", *cache)
        out.truncate(out.seek(0))
        status = run("predict", base / "m.l3clf", folder, *cache)
    answered = {Path(row["path"]).name for row in csv.DictReader(io.StringIO(out.getvalue()))}
    return folder, status, answered, err.getvalue()


def run(*arguments):
    before = warnings.showwarning
    try:
        return main([str(argument) for argument in arguments])
    finally:
        warnings.showwarning = before


def true_s(folder, name):
    """The length that ffmpeg finds; where it stops at the header, or counts headers as sound, told not to."""
    if name in JOINED:
        return sum(true_s(folder, part) for part in JOINED[name])
    return decoded_s(folder / name, *(("-ignore_length", 1) if name in ("crashed.wav", "wrapped.wav") else ()))


@pytest.mark.parametrize("name", READ)
def test_a_recording_that_can_be_read_is_read_to_its_end(predicted, name):
    folder, _, answered, messages = predicted
    if not (folder / name).exists():
        pytest.skip(f"this ffmpeg has no encoder {encoder_of(name)}")
    assert name in answered, messages
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClipWarning)
        samples, rate = load(Clip(folder / name))
    assert len(samples) / rate == pytest.approx(true_s(folder, name), abs=0.05)


@pytest.mark.parametrize("name", BROKEN)
def test_a_recording_that_cannot_be_read_is_named(predicted, name):
    folder, status, answered, messages = predicted
    if not (folder / name).exists():
        pytest.skip(f"this ffmpeg has no encoder {encoder_of(name)}")
    assert status == 1
    assert name not in answered
    assert re.search(rf"^l3clf: failed: [^\n]*[\\/]{re.escape(name)}: [^\n]+; [^\n]+$", messages, re.MULTILINE)


def test_every_recording_is_answered_or_named(predicted):
    folder, _, answered, messages = predicted
    names = {path.name for path in folder.iterdir()}
    assert len(names) > 40
    named = set(re.findall(r"^l3clf: failed: [^\n]*?[\\/]([^\\/\n:]+): ", messages, re.MULTILINE))
    assert answered | named == names
    assert not answered & named
    assert re.search(r"2 of \d+ clips, the first [^\n]*crashed\.wav: its header announces", messages)  # and wrapped.wav


# Where ffmpeg is missing


FOREIGN = ("a.m4a", "b.M4A", "c.wma")


@pytest.fixture
def without_ffmpeg(tmp_path, monkeypatch):
    """Class folders in which a phone's recordings lie beside WAV files, on a machine without ffmpeg."""
    for label, hz in (("low", 300), ("high", 3000)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for k in range(6):
            write(tmp_path / "data" / label / f"{k}.wav", tone(hz + k, 1.0) + noise(RATE, k, 0.01))
    for name in FOREIGN:
        put(tmp_path / "data" / "low" / name, b"\0\0\0\x1cftypM4A " + bytes(500))
    assert main([*map(str, ("fit", tmp_path / "data", "--embedder", "mfcc", "--out", tmp_path / "before.l3clf"))]) in (
        0,
        1,
    )
    hide_ffmpeg(monkeypatch, tmp_path)
    return tmp_path


COMMANDS = {
    "fit": lambda base: ("fit", base / "data", "--embedder", "mfcc", "--out", base / "m.l3clf"),
    "predict": lambda base: ("predict", base / "before.l3clf", base / "data"),
    "embed": lambda base: ("embed", base / "data", "--embedder", "mfcc", "--out", base / "x.npz"),
    "baseline": lambda base: (
        *("baseline", base / "data", "--embedders", "mfcc", "--heads", "logistic", "--pooling", "mean"),
        *("--out", base / "report"),
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_recordings_that_need_ffmpeg_are_counted_by_suffix(without_ffmpeg, capsys, command):
    capsys.readouterr()
    status = run(*COMMANDS[command](without_ffmpeg))
    messages = capsys.readouterr().err
    assert status == 1
    told = [line for line in messages.splitlines() if "ffmpeg" in line]
    assert len(told) == 1
    expected = r'a\.m4a and 2 more \(2 \.m4a, 1 \.wma\): need ffmpeg, .* `pip install ".+\[ffmpeg\]"`'
    assert re.fullmatch(rf"l3clf: failed: .*{expected}.*", told[0])


def test_a_class_of_them_is_not_lost_without_a_word(without_ffmpeg, capsys):
    (without_ffmpeg / "data" / "third").mkdir()
    put(without_ffmpeg / "data" / "third" / "only.3gp", b"\0\0\0\x1cftyp3gp4" + bytes(500))
    with warnings.catch_warnings():
        warnings.simplefilter("always", ClipWarning)
        assert run(*COMMANDS["fit"](without_ffmpeg)) == 1
    messages = capsys.readouterr().err
    assert "no clips are left of third" in messages
    assert "and 3 more (2 .m4a, 1 .wma, 1 .3gp)" in messages or "only.3gp" in messages
