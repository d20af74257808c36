"""Every experiment runs end to end, and its record says what it should."""

import json

import numpy as np
from PIL import Image

from experiments import evidence, first_network


def test_first_network_leaves_a_whole_record_and_a_figure(tmp_path):
    flags = evidence.Flags(dataset="digits", seeds=2, epochs=8, output=tmp_path)
    record = first_network.run(flags)
    evidence.write("first_network", tmp_path, record, first_network.plot(record))
    read = evidence.read("first_network", tmp_path)
    assert read["settings"] == {"dataset": "digits", "seeds": 2, "epochs": 8}
    assert {"versions", "devices", "cores", "commit"} <= set(read)
    right = {(r["hidden"], r["learning_rate"]): np.array(r["test_correct"]) for r in read["runs"]}
    assert {counts.shape for counts in right.values()} == {(2, 8)}
    assert right[30, 3.0][:, -1].min() > 0.85 * read["test_examples"]
    assert right[30, 0.001][:, -1].max() < 0.5 * read["test_examples"]
    with Image.open(tmp_path / "first_network.png") as picture:
        assert picture.size[0] > 1000
    assert (tmp_path / "first_network.svg").read_text().startswith("<?xml")


def test_the_committed_record_is_of_many_seeds_on_mnist():
    settings = json.loads((evidence.RESULTS / "first_network.json").read_text())["settings"]
    assert settings == {"dataset": "mnist", "seeds": 20, "epochs": 30}
