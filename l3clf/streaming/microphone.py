"""The microphone, through PortAudio (the package sounddevice, which is imported here only).

Rule: PortAudio's callback only copies into a ring of fixed size, and counts what does not fit; everything else happens
in the thread of the reader. A device that stops is opened again, at the rate that it then has; if it cannot be, the
stream ends with one sentence.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from l3clf.audio.sound_file import check_rate
from l3clf.errors import AudioError, MissingDependencyError, ParameterError, how_to_install
from l3clf.streaming.ring_buffer import RingBuffer
from l3clf.streaming.stream_pieces import Gap, SoundBlock, StreamPiece

__all__ = ["InputDevice", "Microphone", "input_devices"]

RING_S = 20.0
POLL_S = 0.02
MAX_QUIET_S = 3.0  # PortAudio calls back many times a second, also in silence
TRIES = 5
TRY_AGAIN_S = 1.0
MAX_MISSING_S = 60.0  # clocks that say more have jumped


@dataclass(frozen=True)
class InputDevice:
    """A device that records.

    Attributes
    ----------
    index : int
    name : str
    sample_rate : float
        Its own, in Hz.
    """

    index: int
    name: str
    sample_rate: float


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingDependencyError(
            f"microphone: needs sounddevice, which is not installed; install it: `{how_to_install('mic')}`"
        ) from None
    except OSError as error:  # the package is there, the library that it calls is not
        raise MissingDependencyError(
            f"microphone: sounddevice does not find PortAudio ({error}); install it, such as the package libportaudio2"
        ) from None
    return sounddevice


def input_devices() -> list[InputDevice]:
    """Return the devices that record.

    Raises
    ------
    MissingDependencyError
        If sounddevice or PortAudio is not installed.
    """
    found = enumerate(_sounddevice().query_devices())
    return [
        InputDevice(i, str(each["name"]), float(each["default_samplerate"]))
        for i, each in found
        if each["max_input_channels"] > 0
    ]


class Microphone:
    """The first channel of an input device, at the device's own sample rate.

    Parameters
    ----------
    device : int, str or None, default=None
        Index or part of the name of the device; None means the default of the system.

    Raises
    ------
    MissingDependencyError
        If sounddevice or PortAudio is not installed.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._module = _sounddevice()
        self._device = device
        self._name = ""
        self._rate = 0.0
        self._ring = RingBuffer(1)
        self._expected_s = 0.0  # when the next block should begin, by the device's clock
        self._heard_at_s = 0.0  # when the last one came, by ours

    def pieces(self) -> Iterator[StreamPiece]:
        """Yield what is heard, and gaps where something was lost, until the device is gone.

        Raises
        ------
        ParameterError
            If there is no such device.
        AudioError
            If it cannot be opened, or stops and cannot be opened again.
        """
        stream = self._opened()
        while True:
            try:
                yield from self._heard(stream)
            finally:
                with suppress(self._module.PortAudioError):
                    stream.close()
            rest = self._ring.lost_at_the_end()
            stopped_s, name, old_rate = self._heard_at_s, self._name, self._rate
            stream = self._opened_again(stopped_s)
            lost_s = (rest or 0) / old_rate + time.perf_counter() - stopped_s
            yield Gap(lost_s, f"microphone {name!r} stopped, and {self._name!r} was opened at {self._rate:,.0f} Hz")

    def _opened(self) -> Any:
        """Return a running stream, with a new ring."""
        info = self._info()
        self._name, self._rate = str(info["name"]), float(info["default_samplerate"])
        check_rate(self._rate, f"microphone {self._name!r}")
        self._ring = RingBuffer(round(RING_S * self._rate))
        self._expected_s, self._heard_at_s = 0.0, time.perf_counter()
        try:
            stream = self._module.InputStream(
                samplerate=self._rate, device=self._device, channels=1, dtype="float32", callback=self._take
            )
            stream.start()
        except self._module.PortAudioError as error:
            raise AudioError(
                f"microphone {self._name!r}: cannot be opened ({_reason(error)}); close what else uses it, or choose "
                "another device"
            ) from None
        return stream

    def _info(self) -> Any:
        try:
            return self._module.query_devices(self._device, "input")
        except (ValueError, self._module.PortAudioError) as error:
            if self._device is not None:  # no such name or number, several of it, or one that only plays
                reason = f"device={self._device!r}: {_reason(error)}"
                raise ParameterError(f"{reason}; choose one that `l3clf listen --list-devices` lists") from None
            raise AudioError(f"microphone: none was found ({_reason(error)}); plug one in") from None

    def _opened_again(self, stopped_s: float) -> Any:
        name = self._name
        for _ in range(TRIES):
            time.sleep(TRY_AGAIN_S)
            if isinstance(self._device, int):  # numbers may have changed, the name has not
                self._device = name
            with suppress(self._module.PortAudioError):
                self._module._terminate()  # PortAudio keeps the list of devices that it found at its start
            with suppress(AudioError, ParameterError, self._module.PortAudioError):
                self._module._initialize()
                return self._opened()
        raise AudioError(
            f"microphone {name!r}: stopped {time.perf_counter() - stopped_s:.0f} s ago and cannot be opened again; "
            "plug it in and run the command again"
        )

    def _heard(self, stream: Any) -> Iterator[StreamPiece]:
        """Yield what comes until the device stops."""
        while True:
            # First, so that what comes until it stops is read below.
            stopped = not self._is_active(stream) or time.perf_counter() - self._heard_at_s > MAX_QUIET_S
            is_empty = True
            while (found := self._ring.read()) is not None:
                is_empty = False
                if isinstance(found, int):
                    yield Gap(found / self._rate, "sound came faster than it could be taken")
                else:
                    yield SoundBlock(found, self._rate, self._heard_at_s)
            if stopped:
                return
            if is_empty:
                time.sleep(POLL_S)

    def _is_active(self, stream: Any) -> bool:
        try:
            return bool(stream.active)
        except self._module.PortAudioError:  # PortAudio has lost it
            return False

    def _take(self, indata: Any, frames: int, clock: Any, status: Any) -> None:
        """Copy what PortAudio has: this is its thread, which must not wait."""
        if status.input_overflow:
            missing_s = clock.inputBufferAdcTime - self._expected_s
            is_known = self._expected_s > 0 and 0 < missing_s < MAX_MISSING_S
            self._ring.lose(round(missing_s * self._rate) if is_known else 0)
        self._ring.write(indata[:, 0])
        self._expected_s = clock.inputBufferAdcTime + frames / self._rate
        self._heard_at_s = time.perf_counter()


def _reason(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split()).rstrip(".")
