"""From a PyTorch module to a typed ONNX graph that is proven to say the same."""
