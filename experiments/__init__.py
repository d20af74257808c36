"""Experiments: one file a question, each a command, a record and a figure."""
