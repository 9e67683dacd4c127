#!/bin/sh
# As SageMaker starts a container: the release of /opt/ml/model, whatever user and file system it is given.
[ -w "${STARS_HOME:-/}" ] || export STARS_HOME=/tmp/review-stars
exec python -m service.hosting
