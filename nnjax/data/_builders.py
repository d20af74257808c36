"""MNIST and its family as tensorflow-datasets builders that do not need TensorFlow.

The builders of tensorflow-datasets unpack with TensorFlow and store the examples shuffled. These read the
official files and keep their order, on which the book's split (the first 50,000 and the last 10,000
images) depends. URLs and SHA-256 sums are in checksums.tsv.
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from nnjax.data._archives import FILES, URLS, read_idx


class MnistFamily(tfds.core.GeneratorBasedBuilder):
    """60,000 + 10,000 gray images of 28x28 pixels in ten classes, in the original order."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="mnist", description="Handwritten digits (LeCun, Cortes, Burges)."),
        tfds.core.BuilderConfig(name="fashion_mnist", description="Articles of clothing (Zalando)."),
        tfds.core.BuilderConfig(name="kmnist", description="Cursive Japanese characters (CODH)."),
    ]

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(shape=(28, 28), dtype=np.uint8),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        base = URLS[self.builder_config.name]  # pyright: ignore[reportOptionalMemberAccess]
        urls = {split: {file: base + file for file in files} for split, files in FILES.items()}
        paths: Any = dl_manager.download(urls)
        return {split: self._generate_examples(*files.values()) for split, files in paths.items()}

    def _generate_examples(self, images_path, labels_path):
        images, labels = read_idx(images_path.read_bytes()), read_idx(labels_path.read_bytes())
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {"image": image, "label": label}
