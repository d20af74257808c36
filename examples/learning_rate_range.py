"""A learning-rate range test: the learning rate grows exponentially from step to step.

Leslie Smith, *Cyclical Learning Rates for Training Neural Networks*, 2017.
"""

import jax
import numpy as np
import optax

import nnjax

LOW, HIGH, STEPS = 1e-4, 1e2, 600

data = nnjax.load("digits")
params = nnjax.init(jax.random.key(0), (64, 30, 10), nnjax.lecun)
growth = optax.exponential_decay(1.0, transition_steps=STEPS, decay_rate=HIGH / LOW)
run = nnjax.fit(
    jax.random.key(1), params, data, learning_rate=LOW, schedule=growth, steps=STEPS, evaluate_every=20
)
rates, costs = LOW * (HIGH / LOW) ** (run.history.step / STEPS), run.history.train_cost
for rate, cost in zip(rates, costs, strict=True):
    print(f"η = {rate:9.4f}  cost {cost:.3f}  {'#' * round(100 * cost)}")
steepest = np.argmin(np.diff(np.log(costs)))
print(f"the cost decreases fastest near η = {rates[steepest]:.2g}: start from this value for plain SGD")
