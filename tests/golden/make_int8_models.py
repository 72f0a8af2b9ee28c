"""Makes the int8 models beside this file and what tflite-micro computes with them.

    pip install tensorflow keras tflite-micro
    python tests/golden/make_int8_models.py

Weights, representative data and windows are random and seeded; the .tflite files are what TensorFlow's converter
makes of them (full integer, int8 in and out, per channel), `int8_NAME.npz` holds windows (`input`) and every
layer's output by tensor index as tflite-micro gives them. Made with tensorflow 2.21.0, keras 3.15.1 and
tflite-micro 0.dev20261023182759.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from helpers.tflite_micro_oracle import every_tensor, windows_for  # noqa: E402

WINDOWS = 8
BIAS = {"bias_initializer": keras.initializers.RandomNormal(stddev=0.5)}


def separable():
    """Stem of stride 4, depthwise-separable blocks with a residual sum, a kernel as large as the map, dense."""
    x = image = keras.Input((23, 17, 1), batch_size=1)
    x = layers.Conv2D(8, 5, strides=4, padding="same", activation="relu", **BIAS)(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", **BIAS)(x)
    x = layers.Add()([x, layers.Conv2D(8, 1, **BIAS)(y)])
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, activation="relu", **BIAS)(x)
    x = layers.Conv2D(12, 1, activation="relu", use_bias=False)(y)
    x = layers.DepthwiseConv2D((3, 3), **BIAS)(x)
    return keras.Model(image, layers.Dense(10, **BIAS)(layers.Flatten()(x)))


def pools():
    """Padding, pools of both kinds, activations on their own and fused, dilation, a dense layer per tensor."""
    x = image = keras.Input((12, 11, 2), batch_size=1)
    x = layers.Conv2D(6, 3, dilation_rate=2, **BIAS)(x)
    x = layers.MaxPooling2D(2, 1, padding="same")(x)
    x = layers.ReLU()(layers.ZeroPadding2D(((1, 0), (0, 2)))(x))
    x = layers.AveragePooling2D(3, 2, padding="same")(x)
    x = layers.Conv2D(6, (1, 3), strides=(1, 2), **BIAS)(x)
    x = layers.ReLU()(layers.AveragePooling2D((2, 1), 1)(x))
    x = layers.Flatten()(x)
    x = layers.Dense(9, activation="relu6", **BIAS)(x)
    return keras.Model(image, layers.Dense(5, use_bias=False)(x))


def means():
    """Means over all of a map and over one of its dimensions, a sum with ReLU, a dense layer on every row."""
    x = image = keras.Input((10, 7, 3), batch_size=1)
    a, b = (layers.Conv2D(6, 3, padding="same", **BIAS)(x) for _ in range(2))
    x = layers.Dense(6, **BIAS)(layers.ReLU()(layers.Add()([a, b])))
    x = keras.ops.mean(x, axis=1, keepdims=True)
    x = layers.Conv2D(8, (1, 3), activation="relu", **BIAS)(x)
    return keras.Model(image, layers.Dense(6, **BIAS)(layers.GlobalAveragePooling2D()(x)))


def convert(model, seed, dense_by_channel):
    rng = np.random.default_rng(seed)
    shape = model.input_shape
    samples = [rng.normal(0, rng.uniform(0.5, 2), shape).astype(np.float32) for _ in range(20)]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = not dense_by_channel
    return converter.convert()


def main():
    for seed, make in enumerate((separable, pools, means)):
        keras.utils.set_random_seed(seed)
        model = make()
        content = convert(model, seed, dense_by_channel=make is not pools)
        name = f"int8_{make.__name__}"
        (FOLDER / f"{name}.tflite").write_bytes(content)
        x = windows_for(model.input_shape[1:], WINDOWS, seed)
        found = {f"tensor_{index}": values for index, values in every_tensor(content, x).items()}
        np.savez_compressed(FOLDER / f"{name}.npz", input=x, **found)


if __name__ == "__main__":
    main()
