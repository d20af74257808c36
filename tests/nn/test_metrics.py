import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnjax
import reference

PARAMS = nnjax.init(jax.random.key(5), (9, 7, 4))


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 9), dtype=np.uint8), rng.integers(0, 4, n).astype(np.int32)


@given(n=st.integers(1, 2500))
@settings(deadline=None, max_examples=4)
def test_every_example_is_counted_for_any_number_of_examples(n):
    images, labels = examples(n)
    outputs = reference.forward(reference.as_numpy(PARAMS), images / 255)[-1]
    expected = outputs.argmax(axis=1)
    assert int(nnjax.count_correct(PARAMS, images, labels)) == np.sum(expected == labels)
    np.testing.assert_array_equal(nnjax.predict(PARAMS, images), expected)
    np.testing.assert_allclose(nnjax.outputs(PARAMS, images), outputs, atol=1e-6)


def test_confusion_matrix_counts_by_true_label_and_prediction():
    images, labels = examples(1500)
    matrix = np.asarray(nnjax.confusion_matrix(PARAMS, images, labels))
    expected = np.zeros((4, 4), int)
    for label, prediction in zip(labels, nnjax.predict(PARAMS, images), strict=True):
        expected[label, int(prediction)] += 1
    np.testing.assert_array_equal(matrix, expected)


def test_target_vectors_count_like_their_labels():
    images, labels = examples(300)
    targets = np.eye(4, dtype=int)[labels]
    assert int(nnjax.count_correct(PARAMS, images, targets)) == int(
        nnjax.count_correct(PARAMS, images, labels)
    )


@pytest.mark.parametrize("digit", range(4))
def test_one_output_is_correct_if_yes_and_no_are(digit):
    images, labels = examples(500)
    objective = nnjax.Objective(code=nnjax.is_digit(digit))
    params = nnjax.init(jax.random.key(1), (9, 1))
    said_yes = reference.forward(reference.as_numpy(params), images / 255)[-1][:, 0] > 0.5
    correct = int(nnjax.count_correct(params, images, labels, objective))
    assert correct == np.sum(said_yes == (labels == digit))


def test_evaluation_passes_no_key():
    keys = []

    def forward(params, x, key):
        keys.append(key)
        return x

    nnjax.count_correct((), jnp.eye(3), jnp.arange(3), nnjax.Objective(forward=forward))
    assert keys == [None]


@pytest.mark.parametrize(("code", "classes"), [(nnjax.binary, 10), (nnjax.is_digit(3), 2)])
def test_confusion_matrix_has_the_classes_of_the_code(code, classes):
    images, labels = examples(200)
    objective = nnjax.Objective(code=code)
    params = nnjax.init(jax.random.key(2), (9, code.num_outputs(10)))
    matrix = np.asarray(nnjax.confusion_matrix(params, images, labels, objective))
    assert matrix.shape == (classes, classes)
    assert matrix.sum() == 200
    assert np.trace(matrix) == int(nnjax.count_correct(params, images, labels, objective))


def test_integer_images_raise():
    with pytest.raises(ValueError, match="uint8"):
        nnjax.outputs(PARAMS, examples(3)[0].astype(np.int32))
