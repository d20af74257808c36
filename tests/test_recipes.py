"""Recipes: what they build, and what `nnjax train --recipe` does with them."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

import nnjax
from nnjax.recipes import RECIPES, Recipe

KEY = jax.random.key(1)


def test_the_default_is_the_books(digits):
    recipe = replace(Recipe(), epochs=3)
    params = recipe.draw(digits)(jax.random.key(0))
    ours = nnjax.fit(KEY, params, digits, **recipe.settings(digits))
    book = nnjax.init(jax.random.key(0), (64, 30, 10))
    theirs = nnjax.fit(KEY, book, digits, learning_rate=3.0, epochs=3, batch_size=10)
    np.testing.assert_array_equal(ours.history.cost, theirs.history.cost)


def test_every_recipe_fits_images_of_its_size_and_knows_its_steps():
    images, labels = np.zeros((130, 28, 28), np.uint8), np.arange(130) % 10
    data = nnjax.Dataset.from_arrays((images, labels))
    for recipe in RECIPES.values():
        params = recipe.draw(data)(KEY)
        assert recipe.objective(data).forward(params, np.zeros(784, np.float32), KEY).shape == (10,)
    assert RECIPES["best-cpu"].settings(data)["steps"] == 3 * RECIPES["best-cpu"].epochs
    assert "steps" not in RECIPES["book"].settings(data)


def test_what_is_distorted_by_pixels_goes_with_the_images_size(digits):
    recipe = replace(Recipe(), distorted={"shift": 7.0, "turn": 0.3})
    forward = recipe.objective(digits).forward
    assert (forward.shift, forward.turn, forward.image_shape) == (2.0, 0.3, (8, 8))


def test_a_rate_falls_to_nothing_along_half_a_cosine():
    optimizer, params = nnjax.Falling(optax.sgd)(learning_rate=2.0, steps=4), np.zeros(())
    state, told = optimizer.init(params), []
    for _ in range(5):
        updates, state = optimizer.update(np.ones(()), state, params)
        told.append(-float(updates))
    np.testing.assert_allclose(told, 1 + np.cos(np.pi * np.arange(5) / 4), atol=1e-6)


def test_the_command_trains_by_a_recipe_as_by_its_flags(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "--dataset", "digits", "--recipe", "book", "--epochs", "2", "--save", "a.st") == 0
    assert run("train", "--dataset", "digits", "--epochs", "2", "--save", "b.st") == 0
    a, b = (nnjax.read_model(name) for name in ("a.st", "b.st"))
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert a.settings == {"dataset": "digits", "recipe": "book", "epochs": 2, "seed": 0}
    assert "recipe" not in b.settings


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--recipe", "best-gpu"), "did you mean 'best-cpu'"),
        (
            ("--recipe", "book", "--hidden", "20", "--cost", "quadratic", "--learning-rate", "1"),
            "--hidden, --learning-rate",
        ),
        (("--recipe", "best-cpu"), "images of (8, 8) do not suit 2 convolutions"),
    ],
)
def test_recipes_that_cannot_be_are_told(run, capsys, flags, told):
    assert run("train", "--dataset", "digits", *flags) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
