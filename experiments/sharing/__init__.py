"""Trained methods as files that others take: safetensors, ONNX, a page on a hub."""
