"""One epoch of plain SGD, as an experienced user of each library, or of C, would write it."""

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nnjax
from benchmarks.peers import BATCH_SIZE, LEARNING_RATE, SIZES, JaxPeer, Peer, draw_params


class Flax(JaxPeer):
    """Flax NNX: modules, `nnx.Optimizer`, and the step under `nnx.jit`."""

    package = "flax"

    def __init__(self, seed, data):
        from flax import nnx  # pyright: ignore[reportMissingImports]

        super().__init__(seed, data)
        linears = [nnx.Linear(*w.shape[::-1], rngs=nnx.Rngs(0)) for w, _ in self.params]
        for linear, (w, b) in zip(linears, self.params, strict=True):
            linear.kernel, linear.bias = nnx.Param(jnp.asarray(w.T)), nnx.Param(jnp.asarray(b))
        self.linears = linears
        model = nnx.Sequential(*[f for linear in linears for f in (linear, nnx.sigmoid)])
        optimizer = nnx.Optimizer(model, optax.sgd(LEARNING_RATE), wrt=nnx.Param)

        def cost(model, x, y):
            return 0.5 * jnp.mean(jnp.sum((model(x) - y) ** 2, axis=1))

        @nnx.jit
        def step(model, optimizer, x, y):
            optimizer.update(model, nnx.grad(cost)(model, x, y))

        self.step = lambda x, y: step(model, optimizer, x, y)

    def layers(self):
        return [(linear.kernel[...].T, linear.bias[...]) for linear in self.linears]  # pyright: ignore[reportOptionalSubscript]


class Equinox(JaxPeer):
    """Equinox: a module that is a pytree, optax, and the step under `eqx.filter_jit`."""

    package = "equinox"

    def __init__(self, seed, data):
        import equinox as eqx  # pyright: ignore[reportMissingImports]

        super().__init__(seed, data)
        n_in, hidden, n_out = SIZES
        mlp = eqx.nn.MLP(n_in, n_out, hidden, 1, jax.nn.sigmoid, jax.nn.sigmoid, key=jax.random.key(0))
        self.model = eqx.tree_at(
            lambda mlp: [p for layer in mlp.layers for p in (layer.weight, layer.bias)],
            mlp,
            [jnp.asarray(p) for layer in self.params for p in layer],
        )
        optimizer = optax.sgd(LEARNING_RATE)
        self.opt_state = optimizer.init(eqx.filter(self.model, eqx.is_array))

        def cost(model, x, y):
            return 0.5 * jnp.mean(jnp.sum((jax.vmap(model)(x) - y) ** 2, axis=1))

        @eqx.filter_jit(donate="all-except-first")
        def sgd_step(batch, model, opt_state):
            updates, opt_state = optimizer.update(eqx.filter_grad(cost)(model, *batch), opt_state)
            return eqx.apply_updates(model, updates), opt_state

        def step(x, y):
            self.model, self.opt_state = sgd_step((x, y), self.model, self.opt_state)

        self.step = step

    def layers(self):
        return [(layer.weight, layer.bias) for layer in self.model.layers]


class CReference(Peer):
    """`reference.c`, compiled for this machine: one thread, no library."""

    function = "epoch"

    @classmethod
    def is_available(cls):
        return shutil.which("cc") is not None

    def __init__(self, seed, data):
        super().__init__(seed, data)
        self.labels = np.asarray(data.train.targets, np.uint8)
        self.images = self.make_images()
        with tempfile.TemporaryDirectory() as directory:
            library = Path(directory) / "reference.so"
            source = Path(__file__).with_name("reference.c")
            # Not -ffast-math: it would flush denormal numbers to zero in the whole process.
            flags = ["no-math-errno", "no-trapping-math", "no-signed-zeros", "associative-math"]
            options = ["-O3", "-march=native", *(f"-f{option}" for option in flags), "-shared", "-fPIC"]
            subprocess.run(["cc", *options, source, "-o", library, "-lm"], check=True)
            self.train_epoch = ctypes.CDLL(str(library))[self.function]

    def make_images(self) -> list[np.ndarray]:
        """The arrays with the images, made once before the epochs."""
        return [np.ascontiguousarray(self.data.train.inputs, np.uint8)]

    def epoch(self):
        order = self.rng.permutation(len(self.x)).astype(np.int32)
        arrays = [order, *self.images, self.labels, *(p for layer in self.params for p in layer)]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
        self.train_epoch(ctypes.c_int(len(order)), *pointers, ctypes.c_float(LEARNING_RATE))


class CNonzero(CReference):
    """The same for the pixels that are not zero: their positions and values are listed before the epochs."""

    function = "epoch_nonzero"

    def make_images(self):
        rows, columns = np.nonzero(self.x)
        offsets = np.searchsorted(rows, np.arange(len(self.x) + 1))
        return [offsets.astype(np.int32), columns.astype(np.uint16), self.x[rows, columns]]


def _torch_model(params):
    import torch  # pyright: ignore[reportMissingImports]

    layers = []
    for w, b in params:
        linear = torch.nn.Linear(*w.shape[::-1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers)


class Torch(Peer):
    """PyTorch, eager: modules, an optimizer, and tensors in memory."""

    package = "torch"

    def __init__(self, seed, data):
        import torch  # pyright: ignore[reportMissingImports]

        super().__init__(seed, data)
        self.torch = torch
        self.tx, self.ty = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.model = _torch_model(self.params)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.cost = self.compile(lambda x, y: 0.5 * ((self.model(x) - y) ** 2).sum(dim=1).mean())

    def compile(self, cost: Callable) -> Callable:
        return cost

    def epoch(self):
        order = self.torch.from_numpy(self.rng.permutation(len(self.x)))
        for x, y in zip(self.tx[order].split(BATCH_SIZE), self.ty[order].split(BATCH_SIZE), strict=True):
            self.optimizer.zero_grad()
            self.cost(x, y).backward()
            self.optimizer.step()

    def correct(self):
        linears = [module for module in self.model if isinstance(module, self.torch.nn.Linear)]
        self.params = [
            tuple(p.detach().cpu().numpy() for p in (layer.weight, layer.bias)) for layer in linears
        ]
        return super().correct()


class CompiledTorch(Torch):
    """PyTorch with `torch.compile` around model and cost."""

    def compile(self, cost):
        return self.torch.compile(cost)


class ManyTorch:
    """Many networks in PyTorch: `torch.func` maps the gradient over stacked modules."""

    def __init__(self, networks: int, data: nnjax.Dataset):
        import torch  # pyright: ignore[reportMissingImports]

        self.torch, self.networks = torch, networks
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.first = first = Torch(0, data)
        first.tx, first.ty = first.tx.to(self.device), first.ty.to(self.device)
        model = first.model.to(self.device)
        others = [
            _torch_model(draw_params(np.random.default_rng(seed), np.float32)) for seed in range(1, networks)
        ]
        params, _ = torch.func.stack_module_state([model, *(other.to(self.device) for other in others)])
        self.params = {name: p.detach() for name, p in params.items()}

        def cost(params, x, y):
            return 0.5 * ((torch.func.functional_call(model, params, (x,)) - y) ** 2).sum(dim=1).mean()

        grads = torch.func.vmap(torch.func.grad(cost), in_dims=(0, None, None))

        def step(params, x, y):
            for p, grad in zip(params.values(), grads(params, x, y).values(), strict=True):
                p.sub_(grad, alpha=LEARNING_RATE)

        if self.device == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, jax's default
        self.step = self.compile(step)

    def compile(self, step: Callable) -> Callable:
        return step

    @staticmethod
    def release_memory() -> None:
        """Frees the memory that PyTorch caches for arrays that no longer exist."""
        import torch  # pyright: ignore[reportMissingImports]

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __call__(self) -> float:
        start = time.perf_counter()
        first = self.first
        order = self.torch.from_numpy(first.rng.permutation(len(first.x))).to(self.device)
        for x, y in zip(first.tx[order].split(BATCH_SIZE), first.ty[order].split(BATCH_SIZE), strict=True):
            self.step(self.params, x, y)
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return (time.perf_counter() - start) / self.networks

    def correct(self) -> int:
        """The number of correct test predictions of the first network."""
        self.first.model.load_state_dict({name: p[0] for name, p in self.params.items()})
        return self.first.correct()


class ManyCompiledTorch(ManyTorch):
    """The same with `torch.compile` around the step of all networks."""

    def compile(self, step):
        self.torch.compiler.reset()  # otherwise the next number of networks counts as a further shape
        return self.torch.compile(step)
