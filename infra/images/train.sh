#!/bin/sh
# As SageMaker starts a container to train: the stage `train`, on the folders that it mounts. Its training toolkit would say
# which they are; SageMaker itself says nothing.
export SM_MODEL_DIR="${SM_MODEL_DIR:-/opt/ml/model}"
exec python -m training train
