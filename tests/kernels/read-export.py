"""Reads an exported model as a person would, with Keras and the library safetensors, and prints its outputs for the rows
of a JSON file.

    python3 read-export.py MODEL.json WEIGHTS.safetensors ROWS.json
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy
from safetensors.numpy import load_file

topology, weights_path, rows_path = sys.argv[1:]
with open(topology) as file:
    model = keras.models.model_from_json(file.read())
weights = load_file(weights_path)
for layer in model.layers:
    for weight in layer.weights:
        weight.assign(weights.pop(f"{layer.name}/{weight.name}"))
assert not weights, f"weights that no layer has: {list(weights)}"
with open(rows_path) as file:
    rows = json.load(file)
outputs = model(numpy.array(rows["values"], numpy.float32).reshape(rows["shape"]), training=False)
print(json.dumps(numpy.array(outputs).ravel().tolist()))
