"""Recipes: what they build, and what `nnjax train --recipe` does with them."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nnjax
from nnjax.cli import train
from nnjax.config import TrainConfig, configs
from nnjax.optim.optimizers import make_optimizer

KEY = jax.random.key(1)


def test_the_default_is_the_books(digits):
    recipe = replace(TrainConfig(), epochs=3)
    params = recipe.draw(digits)(jax.random.key(0))
    ours = nnjax.fit(KEY, params, digits, **recipe.settings(digits))
    book = nnjax.init(jax.random.key(0), (64, 30, 10))
    theirs = nnjax.fit(KEY, book, digits, learning_rate=3.0, epochs=3, batch_size=10)
    np.testing.assert_array_equal(ours.history.train_cost, theirs.history.train_cost)


def test_every_recipe_fits_images_of_its_size_and_knows_its_steps():
    images, labels = np.zeros((130, 28, 28), np.uint8), np.arange(130) % 10
    data = nnjax.Dataset.from_arrays((images, labels))
    for recipe in configs.values():
        params = jax.eval_shape(recipe.draw(data), KEY)
        forward = jax.eval_shape(recipe.objective(data).forward, params, jnp.zeros(784), KEY)
        assert forward.shape == (10,)
    assert configs["best-cpu"].settings(data)["steps"] == 3 * configs["best-cpu"].epochs
    assert "steps" not in configs["book"].settings(data)


def test_what_is_distorted_by_pixels_goes_with_the_images_size(digits):
    recipe = replace(TrainConfig(), distorted={"shift": 7.0, "turn": 0.3})
    forward = recipe.objective(digits).forward
    assert (forward.shift, forward.turn, forward.image_shape) == (2.0, 0.3, (8, 8))
    assert forward.bend == pytest.approx(nnjax.Augment(None, (28, 28)).bend * 8 / 28)


def test_a_rate_falls_to_nothing_along_half_a_cosine():
    optimizer = make_optimizer(nnjax.Falling(optax.sgd), {"learning_rate": 2.0, "steps": 4})
    start, told = jnp.float32(0), []
    state = optimizer.init(start)
    for _ in range(5):
        moved, state = optimizer.apply(jnp.float32(1), state, start)
        told.append(-float(moved))
    np.testing.assert_allclose(told, 1 + np.cos(np.pi * np.arange(5) / 4), atol=1e-6)


def test_the_command_trains_by_a_recipe_as_by_its_flags(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "--dataset", "digits", "--recipe", "book", "--epochs", "2", "--save", "a.st") == 0
    assert run("train", "--dataset", "digits", "--epochs", "2", "--save", "b.st") == 0
    a, b = (nnjax.load_model(name) for name in ("a.st", "b.st"))
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert a.settings == {
        "dataset": "digits", "epochs": 2, "seed": 0, "recipe": "book",
        "trained": replace(TrainConfig(), epochs=2).parts,
    }  # fmt: skip
    assert (b.settings["hidden"], b.settings["learning_rate"]) == ([30], 3.0)
    assert "recipe" not in b.settings


@pytest.fixture
def small(monkeypatch):
    """best-cpu, small enough for the digits."""
    recipe = replace(configs["best-cpu"], channels=(2,), hidden=(4,))
    monkeypatch.setattr(train, "configs", {"best-cpu": recipe})


@pytest.mark.slow
def test_a_falling_rate_goes_on_only_to_the_epochs_it_was_planned_for(run, capsys, small):
    command = "train", "--dataset", "digits", "--recipe", "best-cpu", "--checkpoint", "kept", "--no-keep"
    assert run(*command, "--epochs", "2") == 0
    assert run(*command, "--epochs", "2") == 0
    assert run(*command, "--epochs", "3") == 2
    assert "--epochs" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_recipe_trained_is_evaluated_compared_and_drawn(run, capsys, small):
    assert run("train", "--dataset", "digits", "--recipe", "best-cpu", "--epochs", "2", "--save", "m.st") == 0
    assert "training [64, 2, 4, 10]" in capsys.readouterr().out
    assert nnjax.load_model("m.st").settings["trained"]["channels"] == [2]
    assert run("evaluate", "m.st") == 0
    assert run("baselines", "--model", "m.st") == 0
    assert "network [64, 2, 4, 10]" in capsys.readouterr().out
    assert run("draw", "m.st", "--output", "page.html", "--no-open") == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--recipe", "best-gpu"), "did you mean 'best-cpu'"),
        (
            ("--recipe", "book", "--hidden", "20", "--cost", "quadratic", "--learning-rate", "1"),
            "--hidden, --learning-rate, --cost",
        ),
        (("--recipe", "best-cpu"), "recipe best-cpu does not suit digits: images of (8, 8)"),
    ],
)
def test_recipes_that_cannot_be_are_told(run, capsys, flags, told):
    assert run("train", "--dataset", "digits", *flags) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
