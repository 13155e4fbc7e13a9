# The image of the operator.
#
#   docker build -f images/operator.Dockerfile -t llmtrain/operator .
#
# Lowest first: base, deps (pinned, changes rarely), final (our code, changes often). jobs.Dockerfile has the same shape.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
# hack/images passes a dependency image that it built before; otherwise this is the stage of that name.
ARG DEPS_IMAGE=deps

FROM scratch AS requirements
COPY constraints/operator.txt /in/

FROM ${BASE_IMAGE} AS deps
# The user has a name because PyTorch asks for it, and no shell and no right to change either file.
# The two secrets are optional: pip's configuration and CA bundle of the building machine, which no layer may contain.
# Bytecode is made here, also for a base whose standard library comes without it: the user who runs this may not write it.
RUN --mount=type=bind,from=requirements,source=/in,target=/in \
    --mount=type=secret,id=pip-config --mount=type=secret,id=ca-bundle \
    python3 -m venv /opt/venv \
 && PIP_CONFIG_FILE=/run/secrets/pip-config /opt/venv/bin/pip install --no-cache-dir --quiet \
      -r /in/operator.txt 'setuptools>=77' \
 && echo 'llmtrain:x:1000:1000::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'llmtrain:x:1000:' >> /etc/group \
 && python3 -m compileall -q -x 'lib2to3/tests|test/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM scratch AS source
COPY pyproject.toml README.md MANIFEST.i[n] /src/
COPY llmtrain /src/llmtrain
COPY operator /src/operator

FROM ${DEPS_IMAGE} AS final
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
# Built from a copy: setuptools writes next to the source, and the mount is read-only. pip is Debian's, old, and of no use
# to who runs this; it goes.
RUN --mount=type=bind,from=source,source=/src,target=/src \
    cp -r /src /tmp/src \
 && pip install --no-cache-dir --no-index --quiet --no-deps --no-build-isolation /tmp/src \
 && pip uninstall --yes --quiet pip \
 && rm -rf /tmp/src
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["llmtrain-operator"]
