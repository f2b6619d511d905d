# One image for training, serving and both servers of a team; what it does is its command.
#
#   docker build -t liked-this .
#   docker run --rm -v likes:/project/data -v registry:/project/mlruns liked-this \
#       recsys train --config data/sample/quick.toml
#   docker run -p 127.0.0.1:8000:8000 -v likes:/project/data -v registry:/project/mlruns liked-this
#
# docs/compose.yaml is a team's set-up.

FROM python:3.12-slim AS build
# gcc compiles the training kernel, and packages that have no wheel for this processor.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# Older ones do not see that a pinned package with an extra is the one that others ask for.
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir 'pip>=25,<27'
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /project
COPY requirements.lock requirements-team.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock -r requirements-team.lock
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY data/sample data/sample
COPY recsys recsys
COPY tasks tasks
COPY flows flows
# Bytecode is made here: nobody who runs the image may write it.
RUN pip install --no-cache-dir --no-deps --editable . \
    && python -m compileall -q -j 0 /opt/venv/lib recsys tasks flows \
    && (python -m flows.database_templates || true)

FROM python:3.12-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home recsys
COPY --from=build /opt/venv /opt/venv
COPY --from=build /project /project
# What is written: data and registry, in volumes where they are to stay.
WORKDIR /project
RUN mkdir -p data/interim data/output data/raw data/likes data/answers data/online mlruns \
    && chown recsys data mlruns \
    && chown -R recsys data/interim data/output data/raw data/likes data/answers data/online
USER 10001
ENV PATH=/opt/venv/bin:$PATH \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONUNBUFFERED=1
EXPOSE 8000
# Of the command below; another one that is no server on this port needs none, or its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
CMD ["recsys", "serve", "--host", "0.0.0.0"]
