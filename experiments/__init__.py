"""The book's chapter as experiments: one module for each question, and their records in `results`."""
