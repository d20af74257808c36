"""Interrupted runs resume with bit-identical results; damaged checkpoints and full disks are reported."""

import contextlib
import json
import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tensorstore

import nnjax
from nnjax.storage._orbax import make_manager
from nnjax.storage.checkpoints import open_checkpoints
from runs import EPOCHS, KEY, assert_same_run, every_epoch, interrupt, train


@pytest.fixture(scope="module")
def params():
    return nnjax.init(jax.random.key(0), (64, 5, 10))


@pytest.fixture(scope="module")
def uninterrupted(params, digits):
    return train(params, digits)


@pytest.fixture(scope="module")
def interrupted_dir(params, digits, tmp_path_factory):
    """A directory with a checkpoint of each of the first two of three epochs; tests change copies of it."""
    directory = tmp_path_factory.mktemp("interrupted")
    interrupt(2, params, digits, directory)
    return directory


@pytest.fixture
def run_dir(interrupted_dir, tmp_path):
    return shutil.copytree(interrupted_dir, tmp_path / "run")


def saved_epochs(directory):
    return {int(path.name) for path in directory.iterdir() if path.name.isdigit()}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="sgd"),
        pytest.param(
            {"optimizer": optax.adam, "learning_rate": 0.01, "schedule": "cosine", "ema_decay": 0.9},
            id="adam",
        ),
        pytest.param(
            {"optimizer": optax.lbfgs, "learning_rate": 1.0, "batch_size": 1204, "memory_size": 3},
            id="lbfgs",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_interrupted_run_resumes_with_bit_identical_results(params, digits, tmp_path, settings, advanced):
    uninterrupted = train(params, digits, **settings)
    interrupt(2, params, digits, tmp_path, **settings)
    reported = []
    advanced.clear()

    def report(run):
        reported.append(len(run.history))

    resumed = train(params, digits, checkpoint=tmp_path, callback=report, **settings)
    assert len(advanced) == 1
    assert reported == [2, 3]
    assert_same_run(resumed, uninterrupted)
    finished = train(params, digits, checkpoint=tmp_path, **settings)
    assert len(advanced) == 1
    assert_same_run(finished, uninterrupted)


def test_a_finished_run_may_resume_with_more_epochs(params, digits, run_dir, advanced):
    train(params, digits, checkpoint=run_dir)
    advanced.clear()
    longer = train(params, digits, epochs=EPOCHS + 1, checkpoint=run_dir)
    assert len(advanced) == 1
    assert_same_run(longer, train(params, digits, epochs=EPOCHS + 1))


def test_keys_of_another_kind_narrow_floats_and_empty_arrays_are_restored(digits, tmp_path):
    key = jax.random.key(3, impl="rbg")
    params = {"w": jnp.zeros((10, 64), jnp.bfloat16), "none": jnp.zeros((0, 3), jnp.bfloat16)}
    objective = nnjax.Objective(forward=lambda p, x, key: jax.nn.sigmoid(p["w"] @ x.ravel()))
    settings = {"objective": objective, "learning_rate": 1.0, "batch_size": 86}
    uninterrupted = nnjax.fit(key, params, digits, epochs=2, **settings)
    nnjax.fit(key, params, digits, epochs=1, checkpoint=tmp_path, **settings)
    assert_same_run(nnjax.fit(key, params, digits, epochs=2, checkpoint=tmp_path, **settings), uninterrupted)


def test_the_directory_does_not_depend_on_the_working_directory(params, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()

    def change_directory(run):
        monkeypatch.chdir(tmp_path / "elsewhere")

    for directory in ("~/home", "relative"):
        monkeypatch.chdir(tmp_path)
        train(params, digits, epochs=1, checkpoint=every_epoch(directory), callback=change_directory)
    assert saved_epochs(tmp_path / "home") == saved_epochs(tmp_path / "relative") == {1}
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("policy", "saved"),
    [
        ({"every_seconds": 3600, "every": 1, "max_to_keep": 2}, {2, 3}),
        ({"every_seconds": 3600}, {3}),
        ({"every_seconds": 3600, "every": 2}, {2, 3}),
        ({"every_seconds": 0}, {1, 2, 3}),
        ({"every_seconds": np.float32(0), "every": np.int64(2), "max_to_keep": np.int8(1)}, {3}),
    ],
)
def test_the_policy_decides_which_epochs_are_saved(params, digits, tmp_path, policy, saved):
    train(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path, **policy))
    assert saved_epochs(tmp_path) == saved


def test_a_callback_that_ends_training_ends_it_again(params, digits, tmp_path, advanced):
    def enough(run):
        return len(run.history) == 2

    first = train(params, digits, checkpoint=tmp_path, callback=enough)
    assert len(advanced) == 2
    again = train(params, digits, checkpoint=tmp_path, callback=enough)
    assert len(advanced) == 2
    assert_same_run(again, first)


def growing(learning_rate):
    """Multiplies every weight by the learning rate in each step."""

    def update(updates, state, params):
        return jax.tree.map(lambda w: w * (learning_rate - 1), params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def test_a_diverged_run_resumes_from_the_last_finite_epoch(params, digits, tmp_path, advanced):
    settings = {"optimizer": growing, "learning_rate": 2.0, "stop_on_nan": True, "locate_nan": True}
    first = train(params, digits, checkpoint=every_epoch(tmp_path), epochs=50, **settings)
    diverged_at = int(first.history.diverged_at)
    assert diverged_at == len(first.history) - 1 == 128 // 28  # 28 steps per epoch; the weights were about 1
    assert max(saved_epochs(tmp_path)) == diverged_at
    advanced.clear()
    again = train(params, digits, checkpoint=tmp_path, epochs=50, **settings)
    assert len(advanced) == 1
    assert again.divergence == first.divergence
    assert again.divergence.epoch == diverged_at
    assert again.divergence.path.startswith("params[")


def test_a_directory_without_checkpoints_may_get_other_settings(params, digits, tmp_path):
    settings = {"optimizer": growing, "stop_on_nan": True, "checkpoint": tmp_path}
    assert train(params, digits, learning_rate=1e9, **settings).history.diverged_at == 0
    train(params, digits, epochs=1, learning_rate=1.0, **settings)
    with pytest.raises(ValueError, match=r"learning_rate was 1\.0 and is 1\.5"):
        train(params, digits, epochs=1, learning_rate=1.5, **settings)


def test_a_sweep_in_which_all_networks_diverged_is_not_trained_again(digits, tmp_path, advanced):
    def diverged_at():
        rates = {"optimizer": growing, "learning_rate": (1e9, 1e12), "hidden": 5, "batch_size": 43}
        return nnjax.sweep(KEY, digits, epochs=2, checkpoint=tmp_path, **rates).diverged_at.values

    assert (diverged_at() == 0).all()
    advanced.clear()
    assert (diverged_at() == 0).all()
    assert not advanced


def test_a_removed_directory_triggers_a_warning_and_is_not_created_again(params, digits, tmp_path):
    directory = tmp_path / "run"

    def remove(run):
        if len(run.history) == 2:
            directory.rename(tmp_path / "elsewhere")  # like a removal, but Orbax may be writing into it

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(params, digits, callback=remove, checkpoint=every_epoch(directory))
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "the directory was removed",
        "a restarted training starts from the beginning",
    ]
    assert not (directory / "3").exists()


def test_an_error_of_a_write_that_ends_with_the_training_is_a_warning(params, digits, tmp_path, monkeypatch):
    def broken_manager(*args):
        manager = make_manager(*args)
        close = manager.close
        manager.close = lambda: (close(), {}[0])  # as for metadata that Orbax writes in the background
        return manager

    monkeypatch.setattr("nnjax.storage.checkpoints.make_manager", broken_manager)
    with pytest.warns(UserWarning, match="no checkpoint can be written into .*, but training continues"):
        run = train(params, digits, checkpoint=tmp_path / "run")
    assert len(run.history) == EPOCHS


def test_a_process_saves_one_run_at_a_time(params, digits, tmp_path):
    def train_another(run):
        with pytest.raises(ValueError, match="only one training at a time"):
            train(params, digits, checkpoint=tmp_path / "b")

    train(params, digits, epochs=1, callback=train_another, checkpoint=tmp_path / "a")
    train(params, digits, epochs=1, checkpoint=tmp_path / "b")


def test_a_run_resumes_on_its_device(params, digits, tmp_path):
    device = jax.devices()[1]
    params = jax.device_put(params, device)
    for epochs in (1, 2):
        run = train(params, digits, epochs=epochs, checkpoint=tmp_path)
        assert {leaf.device for leaf in jax.tree.leaves(run.params)} == {device}


# --- damaged checkpoints ---


def files_of(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.stat().st_size)


def largest(checkpoint):
    return max(files_of(checkpoint), key=lambda path: path.stat().st_size)


def truncate(checkpoint):
    path = largest(checkpoint)
    path.write_bytes(path.read_bytes()[:100])


def remove_the_manifest(checkpoint):
    next(checkpoint.rglob("manifest.ocdbt")).unlink()


def empty(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def change_the_middle(checkpoint):
    path = largest(checkpoint)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def declare_huge(checkpoint):
    """Declares 32 TB, of which nothing exists."""
    store = {"driver": "ocdbt", "base": f"file://{checkpoint}/default/", "path": "state/"}
    spec = {"driver": "zarr", "kvstore": store, "delete_existing": True, "create": True}
    tensorstore.open(spec, dtype="uint8", shape=[2**45]).result()


def declare_huge_chunks(checkpoint):
    """Declares the right shape, in chunks of 32 TB."""
    store = {"driver": "ocdbt", "base": f"file://{checkpoint}/default/", "path": "state/"}
    spec = {"driver": "zarr", "kvstore": store}
    shape = tensorstore.open(spec).result().shape
    chunks = {"metadata": {"chunks": [2**45]}, "delete_existing": True, "create": True}
    changed = tensorstore.open(spec | chunks, dtype="uint8", shape=shape).result()
    assert changed.chunk_layout.read_chunk.shape == (2**45,)


def many_keys(checkpoint):
    path = next(checkpoint.rglob("_METADATA"))
    metadata = json.loads(path.read_text())
    entry = json.dumps(metadata["tree_metadata"])
    for i in range(10_000):
        metadata["tree_metadata"] |= json.loads(entry.replace("state", f"../../{i}"))
    path.write_text(json.dumps(metadata))


def nest_deeply(checkpoint):
    next(checkpoint.rglob("_METADATA")).write_text("[" * 1_000_000)


DAMAGES = (
    truncate,
    remove_the_manifest,
    empty,
    change_the_middle,
    declare_huge,
    declare_huge_chunks,
    many_keys,
    nest_deeply,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_triggers_a_warning_and_the_previous_one_is_used(
    params, digits, run_dir, damage, advanced, uninterrupted
):
    damage(run_dir / "2")
    with pytest.warns(UserWarning, match="checkpoint of epoch 2 .* is damaged .* resumes from epoch 1"):
        resumed = train(params, digits, checkpoint=every_epoch(run_dir))
    assert len(advanced) == 2
    assert_same_run(resumed, uninterrupted)
    assert_same_run(train(params, digits, checkpoint=run_dir), uninterrupted)


def test_if_all_checkpoints_are_damaged_training_does_not_start_again(params, digits, run_dir):
    for epoch in "12":
        truncate(run_dir / epoch)
    with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged"):
        train(params, digits, checkpoint=run_dir)


@pytest.mark.slow
def test_every_changed_byte_of_a_checkpoint_is_noticed_or_harmless(tmp_path):
    tree = {"w": np.random.default_rng(0).random((30, 20)), "epoch": np.int32(3)}
    policy = every_epoch(tmp_path / "run")
    with open_checkpoints(policy, {}) as checkpointer:
        checkpointer.save(3, tree, last=True)
    rng, noticed = np.random.default_rng(1), 0
    for file in files_of(tmp_path / "run" / "3"):
        content = file.read_bytes()
        for position in rng.integers(0, len(content), 8):
            changed = bytearray(content)
            changed[position] ^= rng.integers(1, 256)
            file.write_bytes(changed)
            with open_checkpoints(policy, {}) as checkpointer, contextlib.suppress(ValueError):
                noticed += 1
                restored = checkpointer.restore_latest(lambda epoch: tree, total=3)
                np.testing.assert_array_equal(restored["w"], tree["w"])
                noticed -= 1
        file.write_bytes(content)
    assert noticed > 20


@contextlib.contextmanager
def full_disk():
    """Files cannot grow beyond a kilobyte."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_triggers_one_warning_and_training_continues(params, digits, run_dir):
    uninterrupted = train(params, digits, epochs=4)
    with warnings.catch_warnings(record=True) as caught, full_disk():
        warnings.simplefilter("always")
        resumed = train(params, digits, epochs=4, checkpoint=every_epoch(run_dir))
    assert [str(warning.message) for warning in caught] == [
        f"no checkpoint can be written into {run_dir}, but training continues: File too large",
        f"epoch 4 is not saved in {run_dir}: a restarted training resumes from epoch 2",
    ]
    assert_same_run(resumed, uninterrupted)
    # The last checkpoint is still there, and the run resumes from it when the disk has space again.
    assert_same_run(train(params, digits, epochs=4, checkpoint=every_epoch(run_dir)), uninterrupted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directory": 3}, "checkpoint directory must be a path, got 3"),
        ({"directory": ""}, "checkpoint directory must be a path, got ''"),
        ({"every_seconds": -1}, "every_seconds must be a non-negative number, got -1"),
        ({"every_seconds": "9"}, "every_seconds must be a non-negative number, got '9'"),
        ({"every": 0}, "every must be a positive integer, got 0"),
        ({"max_to_keep": True}, "max_to_keep must be a positive integer, got True"),
    ],
)
def test_a_wrong_policy_raises(changes, message):
    with pytest.raises(ValueError, match=message):
        nnjax.CheckpointPolicy(**{"directory": "run"} | changes)
