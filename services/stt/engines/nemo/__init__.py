"""NVIDIA's NeMo recognisers through onnx-asr: Parakeet for a CPU, Canary as the second recogniser of port 8084."""
