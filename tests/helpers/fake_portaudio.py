"""A stand-in for sounddevice: the same calls and callbacks, and devices that overflow, vanish and change their rate.

What PortAudio does with a sound card is not tested here; how we answer to what it reports is.
"""

import threading
import time
from types import SimpleNamespace

import numpy as np


class PortAudioError(Exception):
    """As sounddevice's."""


class FakeSoundDevice:
    """A module like sounddevice with one microphone, which plays a script.

    Parameters
    ----------
    scripts : list of list
        For each time that a stream is opened, what happens: an array is a block of samples; "overflow" is reported with
        the next block, ("overflow", seconds) with the length by the device's clock; "gone" ends the stream; "broken"
        makes it an error to ask whether it is active; "hang" lets it call back no more; an Exception is raised by the
        opening.
    rates : list of float
        The device's rate at each opening.
    """

    PortAudioError = PortAudioError

    def __init__(self, scripts, rates=(16_000,), devices=("Microphone",)):
        self.scripts, self.rates, self.devices = list(scripts), list(rates), devices
        self.openings = self.refreshed = self.closed = 0
        self.played = threading.Event()

    def query_devices(self, device=None, kind=None):
        rate = self.rates[min(self.openings, len(self.rates) - 1)]
        found = [
            {"name": name, "max_input_channels": 1, "default_samplerate": float(rate), "index": i}
            for i, name in enumerate(self.devices)
        ]
        if kind is None:
            return [*found, {"name": "Loudspeaker", "max_input_channels": 0, "default_samplerate": 48_000.0}]
        if not found:
            raise PortAudioError("Error querying device -1")
        if device is None:
            return found[0]
        match = [each for each in found if each["index"] == device or str(device) in each["name"]]
        if not match:
            raise ValueError(f"No input device matching {device!r}")
        return match[0]

    def InputStream(self, **how):  # noqa: N802  # sounddevice's name
        script = self.scripts[self.openings] if self.openings < len(self.scripts) else [PortAudioError("unplugged")]
        self.openings += 1
        if script and isinstance(script[0], Exception):
            raise script[0]
        return _Stream(self, script, **how)

    def _terminate(self):
        self.refreshed += 1

    def _initialize(self):
        pass


class _Stream:
    def __init__(self, module, script, samplerate, device, channels, dtype, callback):
        assert (channels, dtype) == (1, "float32")
        self._module, self._script, self._rate, self._callback = module, script, samplerate, callback
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._stop = threading.Event()
        self._is_active, self._is_broken = False, False

    @property
    def active(self):
        if self._is_broken:
            raise PortAudioError("Invalid stream pointer")
        return self._is_active

    def start(self):
        self._is_active = True
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()
        self._is_active = self._is_broken = False
        self._module.closed += 1

    def _play(self):
        clock_s, overflow, buffer = 100.0, False, np.zeros((1 << 20, 1), np.float32)
        for step in self._script:
            if isinstance(step, np.ndarray):
                buffer[: len(step), 0] = step
                status = SimpleNamespace(input_overflow=overflow)
                # One buffer for all calls, as PortAudio has it.
                self._callback(buffer[: len(step)], len(step), SimpleNamespace(inputBufferAdcTime=clock_s), status)
                buffer[:] = np.nan
                clock_s, overflow = clock_s + len(step) / self._rate, False
            elif step in ("gone", "broken"):
                time.sleep(0.05)
                self._is_active, self._is_broken = False, step == "broken"
                self._module.played.set()
                return
            elif step == "overflow":
                overflow, clock_s = True, 0.0
            elif step == "hang":
                break
            else:
                overflow, clock_s = True, clock_s + step[1]
        self._module.played.set()
        self._stop.wait(30)
