"""The results of the baselines, as Parquet files, and the script that computes them."""
