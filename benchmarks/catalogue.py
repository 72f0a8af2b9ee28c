"""Which benchmarks there are: the name of each, its module, what it measures and what it needs.

Rule: modules are imported when they are run, so that listing needs neither PyTorch nor TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["BENCHMARKS", "Benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes
    ----------
    module : str
        Where it is, below `benchmarks`.
    measures, needs : str
        One line each.
    """

    module: str
    measures: str
    needs: str

    def load(self) -> Any:
        """Return its module, which has `Options` and `run`."""
        return import_module(f"benchmarks.{self.module}")


_SHARED, _TORCH = "the shared data (L3CLF_SHARED)", "PyTorch (pip install torch)"

BENCHMARKS: Mapping[str, Benchmark] = {
    "openl3_parity": Benchmark(
        "openl3_parity",
        "how far OpenL3's embeddings are from those of the openl3 package, for seeded weights",
        f"nothing; {_SHARED} for both embedding sizes; 2 minutes",
    ),
    "baseline_accuracy": Benchmark(
        "baseline_accuracy",
        "accuracy of every embedder, head and pooling on ESC-10 and FSDD; three interfaces compared",
        f"{_SHARED}; 20 minutes",
    ),
    "l3mini_table": Benchmark(
        "l3mini_table",
        "accuracy of the package's students and their peers, sizes, speed; their integers beside tflite-micro's",
        f"{_SHARED}, tflite-micro; 15 minutes",
    ),
    "open_set": Benchmark(
        "open_set_table",
        "how well sounds that were never learned are told: classes of ESC-10 and FSDD left out; noise, silence, speech",
        f"{_SHARED}; 30 minutes",
    ),
    "filters": Benchmark(
        "filter_gains",
        "what band limits and denoising do to accuracy: ESC-10 clean, under rumble and under steady noise; few clips",
        f"{_SHARED}; 15 minutes",
    ),
    "small_data": Benchmark(
        "small_data",
        "accuracy on ESC-10 with 5, 10 and 32 training clips of each class, with augmentation and without",
        f"{_SHARED}; 15 minutes",
    ),
    "tag_mixtures": Benchmark(
        "tag_mixtures",
        "how well two sounds at once are told: mixtures of ESC-10 clips, mean average precision of taggers",
        f"{_SHARED}; 15 minutes",
    ),
    "accuracy_by_size": Benchmark(
        "accuracy_by_size",
        "accuracy on ESC-10 against size, beside published networks; as a picture, from what is recorded",
        "nothing; seconds",
    ),
    "student_gains": Benchmark(
        "l3mini.student_gains",
        "what training on a task's labels adds to l3mini, or another student, on ESC-10 and FSDD",
        f"{_SHARED}, TensorFlow; {_TORCH} with torch=...; 6 hours",
    ),
    "talk_cnn": Benchmark(
        "l3mini.talk_cnn",
        "accuracy on ESC-10 of the talk's CNN, trained from scratch on labels alone",
        f"{_SHARED}, TensorFlow; 1 hour",
    ),
    "small_data_tuned": Benchmark(
        "small_data_tuned",
        "what fine-tuning adds with 5, 10 and 32 training clips a class of ESC-10, and the same network from scratch",
        f"{_SHARED}, TensorFlow; 1 hour",
    ),
    "device_table": Benchmark(
        "device_table",
        "what each step to the chip costs in accuracy on ESC-10, and what the C code takes",
        f"{_SHARED}, a C compiler and an emulator (the extra `device`); 10 minutes",
    ),
    "events": Benchmark(
        "stream_events",
        "events found, missed and false in hours of sound, with the default rules and with tuned ones",
        f"{_SHARED}; 1 hour",
    ),
    "similar": Benchmark(
        "similar_sounds",
        "how well clips of the same class are found by their embeddings, on ESC-10",
        f"{_SHARED}; 2 minutes",
    ),
    "suggest": Benchmark(
        "label_next",
        "accuracy on ESC-10 against clips labelled, chosen by `suggest` and at random",
        f"{_SHARED}; 5 minutes",
    ),
    "openl3_speed": Benchmark(
        "openl3_speed",
        "windows per second of OpenL3 from FLAC files, as a share of the bare network's",
        "nothing; 2 minutes",
    ),
    "int8_speed": Benchmark(
        "int8_speed",
        "OpenL3 and EfficientAT in int8 and bfloat16 beside float32, the package's graph and the engine's peak",
        f"TensorFlow, OpenVINO for their rows; {_SHARED} for agreement; 5 minutes",
    ),
    "provider_parity": Benchmark(
        "provider_parity",
        "vectors and windows per second of embedders on another provider, such as CUDA, beside the CPU's",
        f"an ONNX Runtime with one, named by L3CLF_PROVIDERS; {_SHARED} for EfficientAT; 3 minutes",
    ),
    "l3mini_speed": Benchmark(
        "l3mini_speed",
        "windows per second of the package's students, in floats and in integers, and of EfficientAT, over OpenL3's",
        f"nothing; {_SHARED} for EfficientAT; 3 minutes",
    ),
    "frontend_speed": Benchmark(
        "frontend_speed",
        "OpenL3's front-end beside those of librosa and torchopenl3; what students spend their time on from files",
        "nothing; librosa, PyTorch, OpenVINO for their rows; 3 minutes",
    ),
    "stream_speed": Benchmark(
        "stream_speed",
        "decisions of streams beside those of clips; speed, latency and memory of a stream of three hours",
        f"{_SHARED}; 20 minutes",
    ),
    "cache_speed": Benchmark(
        "cache_speed",
        "writing and reading cached embeddings beside joblib.Memory and .npy files; embedding 2,000 clips again",
        "nothing; 3 minutes",
    ),
    "growth": Benchmark(
        "growth",
        "seconds and memory against the number of clips, 1,000 to 100,000: cache, loading, baseline, report, similar",
        "Linux for the memory, 1 GB of disk; 10 minutes",
    ),
    "search_speed": Benchmark(
        "search_speed",
        "time to find the nearest of 100,000 and a million vectors, beside scikit-learn",
        "nothing, 4 GB of memory; 1 minute",
    ),
    "baseline_speed": Benchmark(
        "baseline_speed",
        "time of a baseline on 1,000 new clips, and again from the cache",
        "nothing; 3 minutes",
    ),
    "wide": Benchmark(
        "wide",
        "embedding on Dask's workers beside one of them; time, memory and disk for many short clips",
        f"{_SHARED}, Dask and pyarrow (the extras `dask` and `parquet`); 10 minutes",
    ),
    "footprint": Benchmark(
        "footprint",
        "size of an installation, time of an import, memory for a long file",
        "a package registry with install=yes; 3 minutes",
    ),
    "make_l3mini": Benchmark(
        "l3mini.make_l3mini",
        "makes the first l3mini: distillation from YAMNet and the speech embedding, on the pool",
        f"{_SHARED}, TensorFlow, {_TORCH}, espeak-ng; 3 hours",
    ),
    "cpu_training": Benchmark(
        "l3mini.cpu_training",
        "windows a second that a student's training renders, asks its teachers about and learns from, on a CPU",
        f"{_TORCH}, sounds and teachers packed by `benchmarks.l3mini.bundle`, a C++ compiler; 10 minutes",
    ),
    "pool_probe": Benchmark(
        "l3mini.pool_probe",
        "accuracy of students on small tasks cut from the pool, for choices about l3mini",
        f"{_SHARED}, LiteRT (the extra `tflite`); 8 minutes",
    ),
    "pool_front_ends": Benchmark(
        "l3mini.pool_front_ends",
        "which front-end serves a student best, on the pool alone",
        f"{_SHARED}, TensorFlow, {_TORCH}; 1 hour a seed",
    ),
    "pool_share_alike": Benchmark(
        "l3mini.pool_share_alike",
        "what clips under share-alike licences would add to l3mini, on the pool alone",
        f"{_SHARED}, TensorFlow, {_TORCH}; 30 minutes a seed",
    ),
    "fuzz": Benchmark(
        "fuzzing.fuzz",
        "damaged files of every format and failing disks: all end in a right answer or an error of one sentence",
        "Linux; as long as wanted (minutes=N)",
    ),
}
