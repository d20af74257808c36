"""Fuzzing of what opens files from untrusted sources: `python -m fuzz models` or `pictures`."""
