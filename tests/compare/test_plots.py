"""What the plots draw: labels, lines and values."""

import jax
import numpy as np
import pytest
from PIL import Image

import nnjax
from nnjax.compare import plots

CURVES = {"SGD": np.array([[9.0, 5.0, 4.0], [7.0, 6.0, 2.0], [8.0, 5.5, 3.0]]), "Adam": np.full((2, 3), 1.0)}


@pytest.fixture
def axis():
    from matplotlib import pyplot

    figure, axis = pyplot.subplots()
    yield axis
    pyplot.close(figure)


@pytest.fixture(scope="module")
def grid(digits):
    config = nnjax.TrainConfig(hidden=(5,), epochs=2)
    return config.sweep(jax.random.key(0), digits, hidden=(3, 5), learning_rate=(0.1, 3.0, 10.0), seeds=2)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_a_learning_curve_is_the_median_with_a_band(axis):
    lines = plots.learning_curves(axis, CURVES)
    assert [line.get_label() for line in lines] == ["SGD", "Adam"]
    assert axis.get_xlabel() == "epoch"
    np.testing.assert_array_equal(lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(lines[0].get_ydata(), [8, 5.5, 3])
    vertices = axis.collections[0].get_paths()[0].vertices
    assert {(1.0, 7.0), (1.0, 9.0), (3.0, 2.0), (3.0, 4.0)} <= set(map(tuple, vertices))


def test_a_band_can_be_quartiles_or_absent_and_seeds_can_be_drawn(axis):
    plots.learning_curves(axis, {"a": [[0.0], [1.0], [2.0], [3.0], [4.0]]}, band="quartiles", x=[7])
    vertices = axis.collections[0].get_paths()[0].vertices
    assert {(7.0, 1.0), (7.0, 3.0)} <= set(map(tuple, vertices))
    axis.clear()
    plots.learning_curves(axis, CURVES, band=None, seeds=True)
    assert not axis.collections
    assert len(axis.lines) == 2 + 3 + 2
    with pytest.raises(ValueError, match="did you mean 'range'"):
        plots.learning_curves(axis, CURVES, band="rang")


def test_a_grid_has_a_curve_for_each_setting(axis, grid):
    lines = plots.learning_curves(axis, grid, metric="test error")
    assert [line.get_label() for line in lines][:2] == [
        "hidden = 3, learning_rate = 0.1",
        "hidden = 3, learning_rate = 3",
    ]
    error = 100 - 100 * grid.test_accuracy.sel(hidden=5, learning_rate=10.0).median("seed")
    np.testing.assert_allclose(lines[-1].get_ydata(), error)
    assert axis.get_ylabel() == "test error (%)"


def test_a_history_is_one_curve(axis, digits):
    history = nnjax.TrainConfig(hidden=(5,), epochs=2).fit(jax.random.key(0), digits).history
    (line,) = plots.learning_curves(axis, history, metric="training cost")
    np.testing.assert_allclose(line.get_ydata(), history.train_cost)
    assert axis.get_ylabel() == "training cost"


def test_watched_values_are_one_line_over_the_steps_of_all_epochs(axis):
    (line,) = plots.watched_curves(
        axis, [[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]], [[0, 10, -1], [20, 30, 40]], log=True
    )
    np.testing.assert_array_equal(line.get_xdata(), [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(line.get_ydata(), [1, 2, 4, 5, 6])
    assert (axis.get_xlabel(), axis.get_yscale()) == ("step", "log")
    assert not axis.collections


def test_watched_values_of_seeds_have_a_median_and_a_band_for_each_layer(axis):
    values = np.random.default_rng(0).normal(size=(3, 4, 1, 2))  # seeds, epochs, one step, layers
    lines = plots.watched_curves(axis, values, seeds=True)
    assert [line.get_label() for line in lines] == ["layer 1", "layer 2"]
    assert (axis.get_xlabel(), axis.get_yscale()) == ("step", "linear")
    for i, (line, band) in enumerate(zip(lines, axis.collections, strict=True)):
        layer = values[:, :, 0, i]
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), np.median(layer, axis=0))
        vertices = set(map(tuple, band.get_paths()[0].vertices))
        assert {(x, y) for x in range(4) for y in (layer[:, x].min(), layer[:, x].max())} <= vertices


def test_watched_values_can_have_positions_and_labels(axis):
    values = np.arange(6.0).reshape(1, 3, 2)
    lines = plots.watched_curves(axis, values, x=[0, 10, 25], labels=["hidden", "output"])
    assert [(line.get_label(), *line.get_ydata()) for line in lines] == [
        ("hidden", 0, 2, 4),
        ("output", 1, 3, 5),
    ]
    assert lines[0].get_xdata().tolist() == [0, 10, 25]
    with pytest.raises(
        ValueError, match=r"shape \(seed, row, value\) or \(seed, row, value, layer\), got \(1, 3\)"
    ):
        plots.watched_curves(axis, values[..., 0], seeds=True)


def test_results_of_a_training_in_steps_are_drawn_against_the_step(axis, digits):
    grid = nnjax.sweep(
        jax.random.key(0), digits, hidden=5, learning_rate=(0.5, 1.0), steps=9, evaluate_every=4,
        batch_size=200, seeds=2, watch={"norm": nnjax.watch.as_watch(nnjax.watch.gradient_norm, every=3)},
    )  # fmt: skip
    lines = plots.learning_curves(axis, grid, metric="validation accuracy")
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("step", "validation accuracy (%)")
    assert [line.get_xdata().tolist() for line in lines] == [[4, 8, 9]] * 2
    axis.set_ylabel("")
    plots.learning_curves(axis, grid.test_accuracy)  # no metric is read from a DataArray
    assert axis.get_ylabel() == ""
    (line, *_) = plots.sensitivity(axis, grid, metric="test accuracy")
    expected = 100 * grid.test_accuracy.isel(step=-1).mean("seed")
    np.testing.assert_allclose(line.get_ydata(), expected)
    (line,) = plots.watched_curves(axis, grid.watched["norm"].sel(learning_rate=1.0), seeds=True)
    assert line.get_xdata().tolist() == [0, 3, 6]


def test_a_run_is_drawn_like_its_history_and_missing_metrics_raise(axis, digits):
    data = nnjax.Dataset.from_arrays(tuple(digits.train), tuple(digits.validation))
    run = nnjax.TrainConfig(hidden=(5,), epochs=2).fit(jax.random.key(0), data)
    (line,) = plots.learning_curves(axis, run, metric="validation cost")
    np.testing.assert_allclose(line.get_ydata(), run.history.validation_cost)
    with pytest.raises(ValueError, match="metric must be that of a split with examples, got 'test error'"):
        plots.learning_curves(axis, run)
    x = np.ones((20, 2), np.float32)
    regression = nnjax.Dataset.from_arrays((x, x), (x, x), (x, x))
    run = nnjax.TrainConfig(hidden=(), epochs=1, learning_rate=0.1).fit(jax.random.key(0), regression)
    with pytest.raises(ValueError, match="metric must be a cost, because no predictions were counted"):
        plots.learning_curves(axis, {"regression": run}, metric="validation error")


def test_lines_differ_in_grayscale():
    looks = {(style["marker"], str(style["linestyle"])) for style in plots.STYLES}
    assert len(looks) == len(plots.STYLES) == 14


def test_every_seed_is_a_dot_on_the_line_of_medians(axis):
    plots.seeds_and_median(axis, [1, 10], [[3.0, 5.0, 4.0], [8.0, 8.0, 2.0]])
    *dots, median = axis.lines
    assert [line.get_ydata().tolist() for line in dots] == [[3, 8], [5, 8], [4, 2]]
    assert median.get_ydata().tolist() == [4, 8]
    assert [t.get_text() for t in axis.legend().get_texts()] == ["each seed", "median"]


def test_sensitivity_is_the_mean_by_setting(axis, grid):
    (line,) = plots.sensitivity(axis, {"SGD": [[1.0, 3.0], [4.0, 4.0]]}, settings=[0.1, 1.0])
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0.1, 1.0], [2, 4])
    with pytest.raises(ValueError, match="one axis besides the seed, got hidden, learning_rate"):
        plots.sensitivity(axis, grid)


def test_sensitivity_of_a_sweep_is_labelled_by_its_axis(axis, digits):
    config = nnjax.TrainConfig(hidden=(5,), epochs=1)
    grid = config.sweep(jax.random.key(0), digits, learning_rate=(0.1, 3.0), seeds=2)
    (line,) = plots.sensitivity(axis, grid)
    expected = 100 - 100 * grid.validation_accuracy.isel(epoch=-1).mean("seed")
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert line.get_xdata().tolist() == [0.1, 3.0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "validation error (%)")


def test_a_heat_map_has_a_median_and_a_range_in_every_cell(axis):
    values = [[[10.0, 20.0, 90.0], [50.0, 50.0, 50.0]]]
    image = plots.heat_map(axis, values, rows=[30], columns=[0.1, 3.0], framed=[1])
    assert texts(axis) == ["20.0\n10 to 90", "50.0\n50 to 50"]
    np.testing.assert_array_equal(image.get_array(), [[20, 50]])
    assert (tick_labels(axis.xaxis), tick_labels(axis.yaxis)) == (["0.1", "3"], ["30"])
    assert [patch.get_xy() for patch in axis.patches] == [(pytest.approx(0.53), pytest.approx(-0.47))]


def test_a_heat_map_of_a_grid_is_labelled_by_its_axes(axis, grid):
    image = plots.heat_map(axis, grid)
    expected = 100 * grid.test_accuracy.isel(epoch=-1).median("seed")
    np.testing.assert_allclose(image.get_array(), expected.transpose("hidden", "learning_rate"))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "hidden")
    assert tick_labels(axis.yaxis) == ["3", "5"]


def test_a_forest_has_means_and_t_intervals_from_top_to_bottom(axis):
    plots.forest(axis, {"SGD": [1.0, 2.0, 3.0], "Adam": [50.0, 52.0]}, seeds=True, maximum=40)
    dots, interval, mean = axis.lines
    assert dots.get_xdata().tolist() == [1, 2, 3]
    np.testing.assert_allclose(interval.get_xdata(), [-0.4841, 4.4841], atol=1e-3)
    assert np.ravel(mean.get_xdata()).tolist() == [2]
    assert tick_labels(axis.yaxis) == ["SGD", "Adam"]
    assert axis.get_ylim() == (1.5, -0.5)
    assert texts(axis) == ["51.0 →"]


def test_logarithmic_ticks_are_plain_numbers(axis):
    axis.set(xscale="log", xlim=(1, 100))
    plots.readable_log_ticks(axis.xaxis)
    axis.figure.canvas.draw()
    assert {"1", "2", "5", "10", "20", "50", "100"} <= set(tick_labels(axis.xaxis))


def test_the_same_figure_gives_the_same_files(tmp_path):
    from matplotlib import pyplot

    def plot():
        figure, axis = pyplot.subplots(figsize=(2, 1))
        plots.learning_curves(axis, CURVES)
        return figure

    plots.save_figure(plot, tmp_path, "a", dpi=50)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(first) == ["a.png", "a.svg"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (100, 50)
    plots.save_figure(plot, tmp_path, "a", dpi=50)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
