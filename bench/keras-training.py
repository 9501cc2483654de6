"""The peer of the training benchmark on TensorFlow: the same CNN, batches and optimiser, trained by Keras in Python, as a
person would write it from Keras's documentation, on one thread. Prints {"python_per_s", "tensorflow"}.

    python3 bench/keras-training.py MODEL.json IMAGES LABELS [steps]
"""

import json
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy
import tensorflow

tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)

BATCH = 128

topology, images_path, labels_path, *rest = sys.argv[1:]
steps = int(rest[0]) if rest else 60
with open(images_path, "rb") as file:
    images = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 28, 28, 1)
with open(labels_path, "rb") as file:
    labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)

layers = tensorflow.keras.layers
makers = {
    "Conv2D": lambda c: layers.Conv2D(c["filters"], c["kernel_size"], activation=c["activation"]),
    "MaxPooling2D": lambda c: layers.MaxPooling2D(c["pool_size"], c["strides"]),
    "Flatten": lambda c: layers.Flatten(),
    "Dense": lambda c: layers.Dense(c["units"], activation=c["activation"]),
}
with open(topology) as file:
    listed = json.load(file)["config"]["layers"]
model = tensorflow.keras.Sequential(
    [layers.Input((28, 28, 1))] + [makers[each["class_name"]](each["config"]) for each in listed]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def run(count):
    start = time.perf_counter()
    for step in range(count):
        first = (step * BATCH) % (len(images) - BATCH)
        x = images[first : first + BATCH].astype(numpy.float32) / 255
        model.train_on_batch(x, labels[first : first + BATCH])
    return count * BATCH / (time.perf_counter() - start)


run(max(5, steps // 4))
rate = statistics.median(run(steps) for _ in range(3))
print(json.dumps({"python_per_s": rate, "tensorflow": tensorflow.__version__}))
