"""What tflite-micro computes with an int8 model, tensor by tensor; the reference of the exact interpreter."""

import numpy as np

from l3clf.networks.tflite_read import read_tflite

ARENA_BYTES = 4 << 20


def windows_for(shape, n, seed):
    """Windows of all kinds: constant, full-scale, evenly spread over int8, and near one value as real ones are."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (n, *shape))
    x[3::2] = np.clip(rng.normal(rng.integers(-90, 90), 25, x[3::2].shape), -128, 127)
    x[0], x[1], x[2] = -128, 127, 0
    x[3] = rng.choice([-128, 127], shape)
    return x.astype(np.int8)


def every_tensor(content, x):
    """Every operator's output for windows (n, ...), by tensor index, as tflite-micro computes it."""
    from tflite_micro import runtime

    keep = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA_BYTES, intrepreter_config=keep)
    found = {op.target: [] for op in read_tflite(content, "model").operators}
    for window in x:
        interpreter.set_input(window[np.newaxis], 0)
        interpreter.invoke()
        for index, values in found.items():
            values.append(np.array(interpreter.GetTensor(index, 0)["tensor_data"])[0])
    return {index: np.stack(values) for index, values in found.items()}
