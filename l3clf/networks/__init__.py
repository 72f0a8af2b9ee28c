"""Networks as data: ONNX graphs that we build and check, TFLite files that we read, integers that we compute."""
