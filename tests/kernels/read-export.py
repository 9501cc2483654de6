"""Reads an exported model as a person would, by the loader beside it, and prints its outputs for the rows of a JSON file.

    python3 read-export.py FOLDER ROWS.json
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy

folder, rows_path = sys.argv[1:]
sys.path.insert(0, folder)
from load import load

with open(rows_path) as file:
    rows = json.load(file)
outputs = load()(numpy.array(rows["values"], numpy.float32).reshape(rows["shape"]), training=False)
print(json.dumps(numpy.array(outputs).ravel().tolist()))
