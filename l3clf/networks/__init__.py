"""Networks as data: building and checking ONNX graphs, reading TFLite files, computing int8 networks exactly."""
