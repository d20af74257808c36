"""The experiments of the book's chapter: one module for each question; their records are in `results`."""
