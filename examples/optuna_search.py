"""Optuna proposes a batch of trials, and a sweep trains all of them together (ask and tell)."""

import jax
import optax
import optuna

import nnjax

NUM_BATCHES, TRIALS_PER_BATCH = 4, 16

optuna.logging.set_verbosity(optuna.logging.WARNING)
data = nnjax.load("digits")
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
for batch in range(NUM_BATCHES):
    trials = [study.ask() for _ in range(TRIALS_PER_BATCH)]
    settings = {
        "learning_rate": [trial.suggest_float("learning_rate", 1e-4, 1.0, log=True) for trial in trials],
        "b1": [1 - trial.suggest_float("1 - b1", 0.01, 0.5, log=True) for trial in trials],
        "schedule": [trial.suggest_categorical("schedule", ["constant", "cosine"]) for trial in trials],
    }
    grid = nnjax.sweep(
        jax.random.key(batch), data, zip=settings, optimizer=optax.adam, epochs=6,
        halving=nnjax.Halving(every_epochs=2),
    )  # fmt: skip
    accuracy = grid.validation_accuracy.max("epoch").isel(
        seed=0
    )  # the best epoch; epochs after a stop are NaN
    for trial, value in zip(trials, accuracy.values.tolist(), strict=True):
        study.tell(trial, value)
    print(f"after {len(study.trials)} trials: {study.best_value:.1%} with {study.best_params}")
