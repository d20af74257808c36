"""Fuzzing of the functions that open untrusted files: `python -m fuzz models` or `pictures`."""
