"""The numbers of the TFLite schema (version 3): fields of its tables, operators and types.

Rule: numbers are those of `tensorflow/lite/schema/schema.fbs`, fields are in the order of their tables, and only what
we read is listed.
"""

from enum import IntEnum
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
VERSION = 3


class ModelField(IntEnum):
    """Fields of Model."""

    VERSION = 0
    OPERATOR_CODES = 1
    SUBGRAPHS = 2
    BUFFERS = 4  # the values of constant tensors


class OperatorCodeField(IntEnum):
    """Fields of OperatorCode."""

    DEPRECATED_BUILTIN = 0  # one byte, which became too small
    CUSTOM = 1
    BUILTIN = 3


class SubgraphField(IntEnum):
    """Fields of SubGraph."""

    TENSORS = 0
    INPUTS = 1
    OUTPUTS = 2
    OPERATORS = 3


class TensorField(IntEnum):
    """Fields of Tensor."""

    SHAPE = 0
    TYPE = 1
    BUFFER = 2
    NAME = 3
    QUANTISATION = 4
    IS_VARIABLE = 5
    SPARSITY = 6
    EXTERNAL_BUFFER = 10  # values in another file


class QuantisationField(IntEnum):
    """Fields of QuantizationParameters."""

    SCALE = 2  # 0 and 1 are the range seen in training
    ZERO_POINT = 3
    DETAILS_TYPE = 4  # not zero for custom quantisation
    DIMENSION = 6  # the axis of per-channel scales


class BufferField(IntEnum):
    """Fields of Buffer."""

    DATA = 0
    OFFSET = 1  # with SIZE, for values that follow the tables in files over 2 GB
    SIZE = 2


class OperatorField(IntEnum):
    """Fields of Operator."""

    CODE = 0
    INPUTS = 1
    OUTPUTS = 2
    OPTIONS_TYPE = 3
    OPTIONS = 4


class ConvField(IntEnum):
    """Fields of Conv2DOptions."""

    PADDING = 0
    STRIDE_W = 1
    STRIDE_H = 2
    ACTIVATION = 3
    DILATION_W = 4
    DILATION_H = 5


class DepthwiseField(IntEnum):
    """Fields of DepthwiseConv2DOptions."""

    PADDING = 0
    STRIDE_W = 1
    STRIDE_H = 2
    DEPTH_MULTIPLIER = 3
    ACTIVATION = 4
    DILATION_W = 5
    DILATION_H = 6


class PoolField(IntEnum):
    """Fields of Pool2DOptions."""

    PADDING = 0
    STRIDE_W = 1
    STRIDE_H = 2
    WIDTH = 3
    HEIGHT = 4
    ACTIVATION = 5


class FullyConnectedField(IntEnum):
    """Fields of FullyConnectedOptions."""

    ACTIVATION = 0
    WEIGHTS_FORMAT = 1
    KEEP_DIMS = 2


class ReducerField(IntEnum):
    """Fields of ReducerOptions."""

    KEEP_DIMS = 0


class AddField(IntEnum):
    """Fields of AddOptions."""

    ACTIVATION = 0


class ReshapeField(IntEnum):
    """Fields of ReshapeOptions."""

    NEW_SHAPE = 0


class OptionsType(IntEnum):
    """Members of the union BuiltinOptions."""

    NONE = 0
    CONV = 1
    DEPTHWISE = 2
    POOL = 5
    FULLY_CONNECTED = 8
    ADD = 11
    RESHAPE = 17
    REDUCER = 27


class Padding(IntEnum):
    """The enumeration Padding."""

    SAME = 0
    VALID = 1


ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
"""The enumeration ActivationFunctionType."""

TYPE_NAMES = (
    *("float32", "float16", "int32", "uint8", "int64", "string"),
    *("bool", "int16", "complex64", "int8", "float64"),
)
"""The enumeration TensorType, by number."""

TENSOR_TYPES: dict[int, np.dtype[Any]] = {2: np.dtype("<i4"), 9: np.dtype("i1")}
"""Those that an int8 student contains, with the byte order of the file."""

_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR
ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND
COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE
BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1
UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT
"""
OPERATOR_NAMES = tuple(_NAMES.split())
"""The enumeration BuiltinOperator, by number, without the operators that only compilers exchange (STABLEHLO_...)."""
