"""Formats that only ffmpeg reads: right samples, no other file opened, no process left behind, errors by name."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.ffmpeg_files import decoded_s, hide_ffmpeg, needs_encoder, run_ffmpeg
from helpers.sound_files import noise, put, tone, wav, write

from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load, read_blocks
from l3clf.errors import AudioError

RATE = 16_000
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs a script in place of ffmpeg")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three seconds in stereo as 16-bit WAV."""
    samples = np.stack([tone(300, 3.0), noise(3 * RATE)], axis=1)
    return write(tmp_path_factory.mktemp("source") / "source.wav", samples)


def made(source, path, encoder, *options):
    needs_encoder(encoder)
    run_ffmpeg("-i", source, "-c:a", encoder, *options, path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "encoder"), [("a.m4a", "alac"), ("a.mka", "flac"), ("a.wv", "wavpack"), ("a.tta", "tta")]
)
def test_what_ffmpeg_decodes_is_what_was_encoded(tmp_path, source, name, encoder):
    path = made(source, tmp_path / name, encoder)
    samples, rate = load(Clip(path))
    assert rate == RATE
    np.testing.assert_array_equal(samples, load(Clip(source))[0])
    assert duration_s(Clip(path)) == 3.0
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(Clip(path), RATE, 0.1))), samples)


LOSSY = [
    ("a.m4a", "aac"), ("a.aac", "aac"), ("a.mp4", "libopus"), ("a.webm", "libopus"), ("a.wma", "wmav2"),
    ("a.mka", "libvorbis"), ("a.caf", "alac"), ("a.wav", "wmav2"), ("a.mov", "aac"),
    ("a.ac3", "ac3"), ("a.avi", "libmp3lame"), ("a.ts", "aac"), ("a.mpg", "mp2"), ("a.mts", "ac3"), ("a.dts", "dca"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "encoder"), LOSSY)
def test_lengths_and_pieces_are_those_of_ffmpeg(tmp_path, source, name, encoder):
    options = {"dca": ("-strict", "-2", "-ar", 44_100), "mp2": ("-f", "vob")}.get(encoder, ())
    path = made(source, tmp_path / name, encoder, *options)
    whole, rate = load(Clip(path))
    assert len(whole) / rate == pytest.approx(decoded_s(path), abs=0.001)
    assert duration_s(Clip(path)) == len(whole) / rate
    np.testing.assert_array_equal(load(Clip(path))[0], whole)
    np.testing.assert_array_equal(load(Clip(path, 1.0, 1.7))[0], whole[rate : round(1.7 * rate)])
    with pytest.raises(AudioError, match="ends after the file's end"):
        load(Clip(path, 1.0, 9.0))


@pytest.mark.parametrize(("name", "options"), [("a.amr", ()), ("a.3gp", ())])
def test_phone_formats_are_read(tmp_path, source, name, options):
    path = made(source, tmp_path / name, "libopencore_amrnb", "-ar", 8000, "-ac", 1, *options)
    assert duration_s(Clip(path)) == pytest.approx(3.0, abs=0.05)


def test_the_suffix_does_not_matter(tmp_path, source):
    path = made(source, tmp_path / "a.m4a", "alac")
    renamed = put(tmp_path / "-a 'b'.wav", Path(path).read_bytes())
    np.testing.assert_array_equal(load(Clip(renamed))[0], load(Clip(source))[0])


def test_only_the_sound_of_a_film_is_read(tmp_path, source):
    needs_encoder("mpeg4")
    picture = ("-f", "lavfi", "-i", "testsrc=duration=3:size=32x32:rate=5")
    run_ffmpeg(*picture, "-i", source, "-c:v", "mpeg4", "-c:a", "alac", tmp_path / "a.mov")
    np.testing.assert_array_equal(load(Clip(tmp_path / "a.mov"))[0], load(Clip(source))[0])
    run_ffmpeg(*picture, "-c:v", "mpeg4", tmp_path / "silent.mov")
    with pytest.raises(AudioError, match=r"silent\.mov: holds no samples"):
        load(Clip(tmp_path / "silent.mov"))


CUT = [
    ("a.m4a", "aac", ()), ("a.m4a", "alac", ("-movflags", "faststart")), ("a.aac", "aac", ()),
    ("a.webm", "libopus", ()), ("a.wma", "wmav2", ()), ("a.wv", "wavpack", ()), ("a.tta", "tta", ()),
    ("a.mp4", "aac", ("-movflags", "frag_keyframe+empty_moov")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "encoder", "options"), CUT)
def test_a_truncated_file_is_refused_by_name(tmp_path, source, name, encoder, options):
    data = Path(made(source, tmp_path / name, encoder, *options)).read_bytes()
    path = put(tmp_path / ("cut" + name), data[: int(0.7 * len(data))])
    for read in (load, duration_s):
        with pytest.raises(AudioError, match=r"cuta\.\w+: is damaged or cut off, as ffmpeg says \([^\n]+\); copy or"):
            read(Clip(path))


HOSTILE = {
    "an HLS playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:{source}\n#EXT-X-ENDLIST\n",
    "a list to join": "ffconcat version 1.0\nfile '{source}'\n",
    "a list to join, without its mark": "file '{source}'\n",
    "a session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    "a DASH manifest": '<?xml version="1.0"?><MPD><BaseURL>file:{source}</BaseURL></MPD>',
    "a playlist with the mark of AMR": "#!AMR\n#EXTM3U\nfile:{source}\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("suffix", [".m4a", ".m3u8"])
def test_a_list_in_the_guise_of_a_recording_opens_no_other_file(tmp_path, source, text, suffix):
    path = put(tmp_path / f"a{suffix}", text.format(source=source).encode())
    with pytest.raises(AudioError, match=r"is not a sound file|is damaged"):
        load(Clip(path))


def children():
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc to list processes")
    found = [Path(f"/proc/self/task/{thread}/children") for thread in os.listdir("/proc/self/task")]  # noqa: PTH208
    return {pid for path in found if path.exists() for pid in path.read_text().split()}


def test_a_reader_that_stops_early_leaves_no_process_behind(tmp_path, source):
    path = str(tmp_path / "long.m4a")
    needs_encoder("aac")
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=duration=120:sample_rate=16000", "-c:a", "aac", path)
    before = children()
    blocks = read_blocks(Clip(path), RATE)
    assert len(next(blocks)) == 10 * RATE
    assert len(children() - before) == 1
    blocks.close()
    assert children() <= before
    with pytest.raises(AudioError, match="ends after"):
        load(Clip(path, 0, 900))
    assert children() <= before


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a script in the place of ffmpeg, before a file that would be given to it."""

    def put_fake(script):
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        return Clip(put(tmp_path / "a.amr", b"#!AMR\n" + bytes(100)))

    return put_fake


@posix_only
def test_an_ffmpeg_that_hangs_is_stopped(fake, monkeypatch):
    from l3clf.audio import ffmpeg

    monkeypatch.setattr(ffmpeg, "MAX_WAIT_S", 0.3)
    clip = fake("exec sleep 60")
    start = time.perf_counter()
    with pytest.raises(
        AudioError, match=r"a\.amr: is damaged or cut off, as ffmpeg says \(nothing came from it for 0\.3 s"
    ):
        load(clip)
    assert time.perf_counter() - start < 20


@posix_only
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "it stopped with status 3"),
        ("head -c 9000000 /dev/zero | tr '\\0' 'x' >&2", "as ffmpeg says .x{120}[.]{3}"),
        ("printf '\\033[31m[amr @ 0x1] bad\\n' >&2; exit 1", "as ffmpeg says .[?]\\[31m"),
        ("printf '[in#0 @ 0x1] [error] first\\nsecond\\n' >&2; exit 1", "as ffmpeg says .first.;"),
        ("head -c 9999 /dev/zero", "gave no samples that can be read"),
        ("exit 0", "holds no samples"),
    ],
)
def test_whatever_ffmpeg_does_is_one_sentence(fake, script, words):
    with pytest.raises(AudioError, match=rf"a\.amr: [^\n\033]*{words}") as caught:
        load(fake(script))
    assert len(str(caught.value)) < 400


def test_a_missing_ffmpeg_is_named_with_what_to_install(tmp_path, source, monkeypatch):
    path = made(source, tmp_path / "a.m4a", "aac")
    hide_ffmpeg(monkeypatch, tmp_path)
    for read in (load, duration_s):
        with pytest.raises(AudioError, match=r'a\.m4a: needs ffmpeg .*`pip install ".+\[ffmpeg\]"`') as caught:
            read(Clip(path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_bad_wav_is_described_as_before_whether_ffmpeg_is_there_or_not(tmp_path, monkeypatch):
    path = put(tmp_path / "a.wav", wav(code=0x1234))
    messages = []
    for hide in (False, True):
        if hide:
            hide_ffmpeg(monkeypatch, tmp_path)
        with pytest.raises(AudioError, match="not a sound file that libsndfile can read") as caught:
            load(Clip(path))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_the_revision_names_the_version_of_ffmpeg(tmp_path, source, fake):
    from l3clf.audio.decode import decode_revision, decoder_of

    run_ffmpeg("-version")
    path = made(source, tmp_path / "a.m4a", "aac")
    assert decoder_of(path) == "ffmpeg"
    real = decode_revision("ffmpeg")
    assert real.startswith("ffmpeg ")
    if os.name == "posix":
        fake("echo ffmpeg version 1.2.3-test Copyright")
        assert decode_revision("ffmpeg") == "ffmpeg 1.2.3-test/1" != real


def test_several_files_are_decoded_at_the_same_time(tmp_path, source):
    path = made(source, tmp_path / "a.m4a", "aac")
    expected, found = load(Clip(path))[0], []
    threads = [threading.Thread(target=lambda: found.append(load(Clip(path))[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(np.array_equal(samples, expected) for samples in found)


def test_no_window_or_question_comes_from_ffmpeg(tmp_path, source):
    """It must not read from the terminal: a second process that holds ours would wait for ever."""
    path = made(source, tmp_path / "a.m4a", "aac")
    code = (
        f"from l3clf.audio.decode import load; from l3clf.audio.clip import Clip; print(len(load(Clip({path!r}))[0]))"
    )
    told = subprocess.run([sys.executable, "-c", code], input=b"q" * 100, capture_output=True, timeout=60, check=True)
    assert int(told.stdout) == len(load(Clip(path))[0])
    assert told.stderr == b""
