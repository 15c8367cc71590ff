"""The engine seam and its engines: torch, OpenVINO, TensorRT; their cache. Start at ``engine.py``."""
