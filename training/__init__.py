"""The training backend: reviews in, a proven release out. Every stage runs alone, in a pipeline, or in a container."""

import os

# Read once, when keras is first imported. The TensorFlow log level hides its start-up notes, not its errors.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
