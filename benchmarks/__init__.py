"""Benchmarks of speed, compared with other programs (peers) in the same run."""
