"""Models and objectives. Models and costs take one example; metrics take all examples of a split."""

from nnjax.nn.attention import Transformer, TransformerParams
from nnjax.nn.augment import Augment
from nnjax.nn.autoencoder import Autoencoder, AutoencoderParams, VariationalAutoencoder, negative_elbo
from nnjax.nn.conv import ConvNet, ConvParams, all_layers, layer_sizes
from nnjax.nn.curvature import gauss_newton_product, hessian_product, largest_eigenvalue
from nnjax.nn.dense import (
    ACTIVATIONS,
    INITIAL_WEIGHTS,
    Activation,
    Dense,
    InitialWeights,
    Layer,
    Params,
    feedforward,
    he,
    heaviside,
    identity,
    init,
    lecun,
    relu,
    sigmoid,
    sizes_of,
    standard_normal,
    tanh,
)
from nnjax.nn.dropout import DenseWithDropout, dropout
from nnjax.nn.layer_norm import LayerNormMLP
from nnjax.nn.metrics import confusion_matrix, count_correct, outputs, predict
from nnjax.nn.objective import (
    COSTS,
    Cost,
    Objective,
    mean_cost,
    quadratic,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    to_input,
    token_cross_entropy,
)
from nnjax.nn.output_codes import CODES, Binary, Code, LabelSmoothing, OneHot, binary, is_digit, one_hot
from nnjax.nn.penalties import weight_penalty
from nnjax.nn.precision import ComputeDtype
from nnjax.nn.recurrent import Recurrent, RecurrentParams

__all__ = [
    "ACTIVATIONS",
    "CODES",
    "COSTS",
    "INITIAL_WEIGHTS",
    "Activation",
    "Augment",
    "Autoencoder",
    "AutoencoderParams",
    "Binary",
    "Code",
    "ComputeDtype",
    "ConvNet",
    "ConvParams",
    "Cost",
    "Dense",
    "DenseWithDropout",
    "InitialWeights",
    "LabelSmoothing",
    "Layer",
    "LayerNormMLP",
    "Objective",
    "OneHot",
    "Params",
    "Recurrent",
    "RecurrentParams",
    "Transformer",
    "TransformerParams",
    "VariationalAutoencoder",
    "all_layers",
    "binary",
    "confusion_matrix",
    "count_correct",
    "dropout",
    "feedforward",
    "gauss_newton_product",
    "he",
    "heaviside",
    "hessian_product",
    "identity",
    "init",
    "is_digit",
    "largest_eigenvalue",
    "layer_sizes",
    "lecun",
    "mean_cost",
    "negative_elbo",
    "one_hot",
    "outputs",
    "predict",
    "quadratic",
    "relu",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sizes_of",
    "softmax_cross_entropy",
    "standard_normal",
    "tanh",
    "to_input",
    "token_cross_entropy",
    "weight_penalty",
]
