import jax
import numpy as np
import pytest

import nnjax
import reference

PARAMS = reference.random_params((9, 7, 4))


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 9), dtype=np.uint8), rng.integers(0, 4, n).astype(np.int32)


@jax.jit
def all_metrics(images, labels):
    """The metrics of `PARAMS` in one program."""
    arguments = PARAMS, images, labels
    return (
        nnjax.outputs(PARAMS, images),
        nnjax.predict(PARAMS, images),
        nnjax.count_correct(*arguments),
        nnjax.confusion_matrix(*arguments),
    )


@pytest.mark.parametrize("n", [1000, 2345])  # evaluated in batches of 1,000
def test_every_example_is_counted_for_any_number_of_examples(n):
    images, labels = examples(n)
    expected_outputs = reference.forward(reference.as_numpy(PARAMS), images / 255)[-1]
    expected = expected_outputs.argmax(axis=1)
    outputs, predictions, correct, matrix = all_metrics(images, labels)
    np.testing.assert_allclose(outputs, expected_outputs, atol=1e-6)
    np.testing.assert_array_equal(predictions, expected)
    assert correct == np.sum(expected == labels)
    expected_matrix = np.zeros((4, 4), int)
    np.add.at(expected_matrix, (labels, expected), 1)  # by true label and prediction
    np.testing.assert_array_equal(matrix, expected_matrix)


def test_target_vectors_count_like_their_labels():
    images, labels = examples(1000)
    targets = np.eye(4, dtype=int)[labels]
    assert nnjax.count_correct(PARAMS, images, targets) == all_metrics(images, labels)[2]


def test_an_output_of_is_digit_is_correct_if_it_is_above_a_half_for_the_digit_only():
    images, labels = examples(200)
    params = reference.random_params((9, 1))
    is_yes = reference.forward(reference.as_numpy(params), images / 255)[-1][:, 0] > 0.5
    objective = nnjax.Objective(code=nnjax.is_digit(3))
    assert nnjax.count_correct(params, images, labels, objective) == np.sum(is_yes == (labels == 3))


def test_evaluation_passes_no_key():
    keys = []

    def forward(params, x, key):
        keys.append(key)
        return x

    jax.eval_shape(nnjax.count_correct, (), np.eye(3), np.arange(3), nnjax.Objective(forward=forward))
    assert keys == [None]


@pytest.mark.parametrize(("code", "classes"), [(nnjax.binary, 10), (nnjax.is_digit(3), 2)])
def test_confusion_matrix_has_the_classes_of_the_code(code, classes):
    images, labels = examples(200)
    objective = nnjax.Objective(code=code)
    params = reference.random_params((9, code.num_outputs(10)))
    matrix = np.asarray(nnjax.confusion_matrix(params, images, labels, objective))
    assert matrix.shape == (classes, classes)
    assert matrix.sum() == 200
    assert np.trace(matrix) == nnjax.count_correct(params, images, labels, objective)


def test_int32_reaches_the_model_unchanged():
    """A table of embeddings, whose rows are the outputs of tokens."""
    table = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    objective = nnjax.Objective(lambda params, x, key: params[x[0]])
    tokens = np.array([[2], [0]], np.int32)
    np.testing.assert_array_equal(nnjax.outputs(table, tokens, objective), table[[2, 0]])


def test_labels_are_not_predicted_without_an_output_code():
    objective, (inputs, labels) = nnjax.Objective(code=None), examples(3)
    for function, arguments in ((nnjax.predict, ()), (nnjax.count_correct, (labels,))):
        with pytest.raises(ValueError, match=r"code must be an output code.* got None"):
            function(PARAMS, inputs, *arguments, objective)
