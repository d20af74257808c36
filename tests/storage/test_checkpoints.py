"""Training that is kept goes on exactly, and what is wrong with a checkpoint is told."""

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
from nnjax.storage.checkpoints import open_checkpoints
from nnjax.storage.run_lock import lock_run_dir

KEY = jax.random.key(7)
EACH = {"seconds": 3600.0, "epochs": 1}


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def params():
    return nnjax.init(jax.random.key(0), (64, 5, 10))


def trained(params, digits, **settings):
    return nnjax.fit(KEY, params, digits, **{"epochs": 5, "learning_rate": 3.0, "batch_size": 50} | settings)


def stopped_after(epoch, params, digits, folder, **settings):
    """A training that ended in its callback, as a crash would end it."""

    def stop(run):
        if len(run.history) == epoch:
            raise Stopped

    with pytest.raises(Stopped):
        trained(params, digits, callback=stop, checkpoint=nnjax.CheckpointPolicy(folder, **EACH), **settings)


def assert_same(one, other):
    assert jax.tree.structure(one.state) == jax.tree.structure(other.state)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        assert a.dtype == b.dtype
        bits = (jax.random.key_data(x) if x is one.state.key or x is other.state.key else x for x in (a, b))
        np.testing.assert_array_equal(*(np.asarray(x) for x in bits))
    for name in ("cost", "validation_correct", "test_correct", "diverged_at"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": optax.adam, "learning_rate": 0.01},
        {"optimizer": nnjax.momentum, "learning_rate": optax.cosine_decay_schedule(0.1, 100)},
        {"optimizer": optax.lbfgs, "learning_rate": 1.0, "batch_size": 1204, "memory_size": 3},
        {"objective": nnjax.Objective(forward=lambda p, x, key: nnjax.feedforward(p, x))},
    ],
)
def test_what_was_stopped_goes_on_to_the_same_bits(params, digits, tmp_path, settings, advanced):
    whole = trained(params, digits, **settings)
    stopped_after(3, params, digits, tmp_path, **settings)
    seen = []
    advanced.clear()
    on = trained(
        params, digits, checkpoint=tmp_path, callback=lambda run: seen.append(len(run.history)), **settings
    )
    assert len(advanced) == 2
    assert seen == [3, 4, 5]
    assert_same(on, whole)
    again = trained(params, digits, checkpoint=tmp_path, **settings)
    assert len(advanced) == 2
    assert_same(again, whole)
    # More epochs than before: one more is trained.
    assert_same(trained(params, digits, epochs=6, checkpoint=tmp_path, **settings),
                trained(params, digits, epochs=6, **settings))  # fmt: skip


def test_keys_of_another_kind_narrow_floats_and_empty_leaves_come_back(digits, tmp_path):
    key = jax.random.key(3, impl="rbg")
    params = {"w": jnp.zeros((10, 64), jnp.bfloat16), "none": jnp.zeros((0, 3), jnp.bfloat16)}
    objective = nnjax.Objective(forward=lambda p, x, key: jax.nn.sigmoid(p["w"] @ x))
    settings = {"objective": objective, "learning_rate": 1.0, "batch_size": 100}
    whole = nnjax.fit(key, params, digits, epochs=3, **settings)
    nnjax.fit(key, params, digits, epochs=2, checkpoint=tmp_path, **settings)
    assert_same(nnjax.fit(key, params, digits, epochs=3, checkpoint=tmp_path, **settings), whole)


def test_a_folder_may_be_in_the_home_folder_or_here_wherever_one_goes(params, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def leave(run):
        monkeypatch.chdir(tmp_path / "elsewhere")

    for folder in ("~/run", "here"):
        monkeypatch.chdir(tmp_path)
        plan = nnjax.CheckpointPolicy(folder, **EACH)
        trained(params, digits, checkpoint=plan, callback=leave)
    assert (tmp_path / "run" / "5").exists()
    assert (tmp_path / "here" / "5").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_last_few_stay_and_the_last_epoch_is_always_kept(params, digits, tmp_path):
    trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path / "a", max_to_keep=2, **EACH))
    assert {p.name for p in (tmp_path / "a").iterdir() if p.name.isdigit()} == {"4", "5"}
    trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path / "b", every_seconds=3600))
    assert {p.name for p in (tmp_path / "b").iterdir() if p.name.isdigit()} == {"5"}
    trained(
        params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path / "c", every_seconds=3600, every_epochs=2)
    )
    assert {p.name for p in (tmp_path / "c").iterdir() if p.name.isdigit()} == {"2", "4", "5"}
    trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path / "d", every_seconds=0, max_to_keep=9))
    assert {p.name for p in (tmp_path / "d").iterdir() if p.name.isdigit()} == {"1", "2", "3", "4", "5"}


def test_a_callback_that_ends_training_ends_it_again(params, digits, tmp_path, advanced):
    def enough(run):
        return len(run.history) == 3

    first = trained(params, digits, checkpoint=tmp_path, callback=enough)
    assert len(advanced) == 3
    again = trained(params, digits, checkpoint=tmp_path, callback=enough)
    assert len(advanced) == 3
    assert_same(again, first)


def growing(learning_rate):
    """Not descent: every weight grows by the same factor, step by step."""

    def update(updates, state, params):
        return jax.tree.map(lambda w: w * (learning_rate - 1), params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def test_what_diverged_goes_on_from_the_last_good_epoch(params, digits, tmp_path, advanced):
    """And diverges again where it did, which is told again."""
    settings = {"optimizer": growing, "learning_rate": 2.0, "stop_on_nan": True, "locate_nan": True}
    first = trained(
        params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path, **EACH), epochs=50, **settings
    )
    good = int(first.history.diverged_at)
    assert good == len(first.history) - 1 == 128 // 25  # 25 steps an epoch; the weights were about 1
    assert max(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == good
    advanced.clear()
    again = trained(params, digits, checkpoint=tmp_path, epochs=50, **settings)
    assert len(advanced) == 1
    assert again.divergence == first.divergence
    assert again.divergence.epoch == good
    assert again.divergence.path.startswith("params[")


def test_a_sweep_that_diverged_as_a_whole_is_not_trained_again(digits, tmp_path, advanced):
    def diverged():
        rates = {"optimizer": growing, "learning_rate": (1e9, 1e12), "hidden": 5, "batch_size": 50}
        return nnjax.sweep(KEY, digits, epochs=2, checkpoint=tmp_path, **rates).diverged_at.values

    assert (diverged() == 0).all()
    advanced.clear()
    assert (diverged() == 0).all()
    assert not advanced


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learning_rate": 1.0}, "learning_rate was 3.0 and is 1.0"),
        ({"batch_size": 49}, "batch_size was 50 and is 49"),
        ({"optimizer": nnjax.momentum}, "optimizer was <function sgd> and is <function momentum>"),
        (
            {"objective": nnjax.Objective(penalty=lambda params: 0.0)},
            "objective.penalty was None and is <function",
        ),
        ({"epochs": 4}, "5 epochs done, more than the 4 asked for"),
    ],
)
def test_other_settings_are_refused_and_named(params, digits, tmp_path, change, told):
    trained(params, digits, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=told):
        trained(params, digits, checkpoint=tmp_path, **change)


def test_other_data_parameters_keys_numbers_and_functions_are_refused(params, digits, tmp_path):
    def objective(rate, scale=1.0):
        def l2(rate, params):
            return rate * scale * jnp.sum(params[0].w ** 2)

        return nnjax.Objective(penalty=jax.tree_util.Partial(l2, jnp.full(3000, rate)[0]))

    def begun(key=KEY, params=params, data=digits, objective=objective(0.1)):
        settings = {"epochs": 1, "batch_size": 100, "learning_rate": 1.0, "checkpoint": tmp_path}
        return nnjax.fit(key, params, data, objective=objective, **settings)

    begun()
    begun(objective=objective(0.1))  # another function of the same code
    images, labels = digits.test
    fewer = nnjax.Dataset.from_arrays(
        tuple(digits.train), tuple(digits.validation), (images, (labels + 1) % 10)
    )
    for told, change in {
        "key was": {"key": jax.random.key(8)},
        "other initial parameters": {"params": jax.tree.map(lambda x: x + 1e-6, params)},
        "other test data": {"data": fewer},
        "objective.penalty was": {"objective": objective(0.1000001)},
        "function of yours has changed": {"objective": objective(0.1, scale=2.0)},
    }.items():
        with pytest.raises(ValueError, match=told):
            begun(**change)


def test_what_only_evaluates_otherwise_is_refused(params, digits, tmp_path):
    """Else a history would hold counts of two kinds."""

    def evaluating(sign):
        def forward(params, x, key):
            out = nnjax.feedforward(params, x)
            return out if key is not None else sign * out

        return nnjax.Objective(forward=forward)

    trained(params, digits, epochs=1, objective=evaluating(1), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="a function of yours has changed"):
        trained(params, digits, epochs=2, objective=evaluating(-1), checkpoint=tmp_path)


def test_precision_is_a_setting(params, digits, tmp_path):
    trained(params, digits, epochs=1, checkpoint=tmp_path)
    with (
        jax.default_matmul_precision("float32"),
        pytest.raises(ValueError, match="matmul_precision was None"),
    ):
        trained(params, digits, epochs=2, checkpoint=tmp_path)


def test_other_settings_are_told_in_the_words_of_who_asks(params, digits, tmp_path):
    def begun(rate):
        plan = nnjax.CheckpointPolicy(tmp_path, display_settings={"--rate": str(rate), "--same": "1"})
        trained(params, digits, learning_rate=rate, checkpoint=plan)

    begun(3.0)
    with pytest.raises(ValueError, match=r"other settings \(--rate was 3.0 and is 2.0\)"):
        begun(2.0)


def test_a_folder_in_which_nothing_was_kept_may_be_of_other_settings(params, digits, tmp_path):
    settings = {"optimizer": growing, "stop_on_nan": True, "checkpoint": tmp_path}
    assert trained(params, digits, learning_rate=1e9, **settings).history.diverged_at == 0
    trained(params, digits, learning_rate=1.0, **settings)
    with pytest.raises(ValueError, match=r"learning_rate was 1\.0 and is 1\.5"):
        trained(params, digits, learning_rate=1.5, **settings)


def test_a_folder_of_anything_else_is_left_as_it_is(params, digits, tmp_path):
    (tmp_path / "2024").mkdir()
    with pytest.raises(ValueError, match=r"holds numbered files, but no settings\.json"):
        trained(params, digits, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2024"]


def test_a_folder_that_is_taken_away_is_told_and_not_made_again(params, digits, tmp_path):
    folder = tmp_path / "run"

    def take_away(run):
        if len(run.history) == 2:
            folder.rename(tmp_path / "elsewhere")  # as if removed, but while it is being written into

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trained(params, digits, callback=take_away, checkpoint=nnjax.CheckpointPolicy(folder, **EACH))
    assert [str(w.message).partition(": ")[2] for w in told] == [
        "the folder was taken away",
        "started again, training starts anew",
    ]
    assert not (folder / "5").exists()


def test_a_process_keeps_one_training_at_a_time(params, digits, tmp_path):
    def another(run):
        with pytest.raises(ValueError, match="keeps another training already"):
            trained(params, digits, checkpoint=tmp_path / "b")

    trained(params, digits, epochs=1, callback=another, checkpoint=tmp_path / "a")
    trained(params, digits, checkpoint=tmp_path / "b")


def test_a_training_goes_on_on_its_own_device(params, digits, tmp_path):
    device = jax.devices()[1]
    params = jax.device_put(params, device)
    for epochs in (2, 4):
        run = trained(params, digits, epochs=epochs, checkpoint=tmp_path)
        assert {leaf.device for leaf in jax.tree.leaves(run.params)} == {device}


def test_numbers_of_numpy_are_numbers(params, digits, tmp_path):
    plan = nnjax.CheckpointPolicy(
        tmp_path, every_seconds=np.float32(0), every_epochs=np.int64(2), max_to_keep=np.int8(1)
    )
    trained(params, digits, checkpoint=plan)
    assert (tmp_path / "5").exists()


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
    """32 TB, of which nothing is there."""
    store = {"driver": "ocdbt", "base": f"file://{checkpoint}/default/", "path": "state/"}
    spec = {"driver": "zarr", "kvstore": store, "delete_existing": True, "create": True}
    tensorstore.open(spec, dtype="uint8", shape=[2**45]).result()


def declare_huge_chunks(checkpoint):
    """As many numbers as there are, said to be the first of 32 TB."""
    store = {"driver": "ocdbt", "base": f"file://{checkpoint}/default/", "path": "state/"}
    spec = {"driver": "zarr", "kvstore": store}
    shape = tensorstore.open(spec).result().shape
    chunks = {"metadata": {"chunks": [2**45]}, "delete_existing": True, "create": True}
    changed = tensorstore.open(spec | chunks, dtype="uint8", shape=shape).result()
    assert changed.chunk_layout.read_chunk.shape == (2**45,)


def many_keys(checkpoint):
    path = next(checkpoint.rglob("_METADATA"))
    told = json.loads(path.read_text())
    one = json.dumps(told["tree_metadata"])
    for i in range(10_000):
        told["tree_metadata"] |= json.loads(one.replace("state", f"../../{i}"))
    path.write_text(json.dumps(told))


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
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(params, digits, tmp_path, damage, advanced):
    whole = trained(params, digits)
    stopped_after(4, params, digits, tmp_path)
    damage(tmp_path / "4")
    advanced.clear()
    with pytest.warns(UserWarning, match="checkpoint of epoch 4 .* is damaged .* from that of epoch 3"):
        on = trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path, **EACH))
    assert len(advanced) == 2
    assert_same(on, whole)
    assert_same(trained(params, digits, checkpoint=tmp_path), whole)


def test_where_all_are_damaged_nothing_is_begun_anew_in_silence(params, digits, tmp_path):
    stopped_after(3, params, digits, tmp_path)
    for epoch in "123":
        truncate(tmp_path / epoch)
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read"):
        trained(params, digits, checkpoint=tmp_path)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"numbered files, but no settings.json"):
        trained(params, digits, checkpoint=tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 3, "environment": {}}', "[" * 100_000])
def test_damaged_settings_are_told(params, digits, tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings.json is damaged"):
        trained(params, digits, checkpoint=tmp_path)


def test_another_version_is_told_and_training_goes_on(params, digits, tmp_path):
    stopped_after(3, params, digits, tmp_path)
    path = tmp_path / "settings.json"
    told = json.loads(path.read_text())
    told["environment"]["jax"] = "0.1.0"
    told["settings"]["program"] = "as that version wrote it"
    path.write_text(json.dumps(told))
    with pytest.warns(UserWarning, match=rf"begun elsewhere \(jax was 0.1.0 and is {jax.__version__}\)"):
        on = trained(params, digits, checkpoint=tmp_path)
    assert_same(on, trained(params, digits))


def test_a_second_training_in_the_same_folder_is_refused(params, digits, tmp_path):
    with lock_run_dir(tmp_path, {}, {}), pytest.raises(ValueError, match="another training is at work in"):
        trained(params, digits, checkpoint=tmp_path)
    assert not any(path.name.isdigit() for path in tmp_path.iterdir())


@contextlib.contextmanager
def full_disk():
    """Files cannot grow past a kilobyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_once_and_training_goes_on(params, digits, tmp_path):
    whole = trained(params, digits)
    stopped_after(2, params, digits, tmp_path)
    with warnings.catch_warnings(record=True) as told, full_disk():
        warnings.simplefilter("always")
        on = trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path, **EACH))
    assert [str(w.message) for w in told] == [
        f"no checkpoint could be written into {tmp_path}, training goes on: File too large",
        f"epoch 5 could not be kept in {tmp_path}: started again, training goes on after epoch 2",
    ]
    assert_same(on, whole)
    # The last good one stands, and is gone on from once there is room.
    assert_same(trained(params, digits, checkpoint=nnjax.CheckpointPolicy(tmp_path, **EACH)), whole)


def test_no_file_of_a_checkpoint_can_change_without_being_noticed(tmp_path):
    """A changed byte anywhere: refused, or of no account."""
    tree = {"w": np.random.default_rng(0).random((30, 20)), "epoch": np.int32(3)}
    plan = nnjax.CheckpointPolicy(tmp_path / "run", **EACH)
    with open_checkpoints(plan, {}) as checkpoints:
        checkpoints.save(3, tree, last=True)
    rng, refused = np.random.default_rng(1), 0
    for file in files_of(tmp_path / "run" / "3"):
        content = file.read_bytes()
        for place in rng.integers(0, len(content), 8):
            changed = bytearray(content)
            changed[place] ^= rng.integers(1, 256)
            file.write_bytes(changed)
            with open_checkpoints(plan, {}) as checkpoints, contextlib.suppress(ValueError):
                refused += 1
                found = checkpoints.restore_latest(lambda epoch: tree, most=3)
                np.testing.assert_array_equal(found["w"], tree["w"])
                refused -= 1
        file.write_bytes(content)
    assert refused > 20


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"folder": 3}, "checkpoint must be a folder's path, not 3"),
        ({"folder": ""}, "checkpoint must be a folder's path, not ''"),
        ({"seconds": -1}, r"checkpoint.seconds must be a number, 0 or more, not -1"),
        ({"seconds": "9"}, r"checkpoint.seconds must be"),
        ({"epochs": 0}, r"checkpoint.epochs must be 1 or more, not 0"),
        ({"keep": True}, r"checkpoint.keep must be"),
    ],
)
def test_a_wrong_checkpoint_is_told(wrong, told):
    with pytest.raises(ValueError, match=told):
        nnjax.CheckpointPolicy(**{"folder": "here"} | wrong)


def test_orbax_is_imported_only_where_it_is_used():
    import subprocess
    import sys

    code = "import sys, nnjax; assert 'orbax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
