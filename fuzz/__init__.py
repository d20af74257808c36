"""Files made of chance: `python -m fuzz models` or `pictures`, with the options of libFuzzer."""
