# The image of every Ray pod of an LLMTrainingJob: curation, training and evaluation.
#
#   docker build -f images/jobs.Dockerfile -t llmtrain/jobs .                          CPU
#   docker build -f images/jobs.Dockerfile --build-arg TORCH=cuda -t llmtrain/jobs .   NVIDIA
#
# Lowest first: base, deps (pinned, changes rarely), final (our code, changes often): a code change moves a few hundred
# kilobytes and not the gigabyte of PyTorch below it.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
# hack/images passes a dependency image that it built before; otherwise this is the stage of that name.
ARG DEPS_IMAGE=deps

# A stage of its own, so that wheels are mounted and never copied into a layer. With the wildcard, wheels/ is optional.
FROM scratch AS requirements
COPY constraints/jobs.txt constraints/cuda.txt wheels*/ /in/

FROM ${BASE_IMAGE} AS deps
# cpu: a wheel in wheels/ wins over the registry's, whose Linux build of PyTorch carries CUDA: without such a wheel the
# image runs on a CPU all the same and is larger by 19 distributions. cuda: always the registry's, and torchao for fp8.
ARG TORCH=cpu
# The user has a name because PyTorch asks for it, and no shell and no right to change either file.
# The two secrets are optional: pip's configuration and CA bundle of the building machine, which no layer may contain.
# Bytecode is made here, also for a base whose standard library comes without it: the user who runs this may not write
# it, and compiling at each start is time somebody is billed for. What is removed, no job reads.
RUN --mount=type=bind,from=requirements,source=/in,target=/in \
    --mount=type=secret,id=pip-config --mount=type=secret,id=ca-bundle \
    python3 -m venv /opt/venv \
 && case "${TORCH}" in \
      cpu) grep -v '^torchao==' /in/jobs.txt > /opt/requirements.txt; links=--find-links=/in ;; \
      cuda) cp /in/jobs.txt /opt/requirements.txt; links= ;; \
      *) echo "TORCH must be cpu or cuda, not '${TORCH}'" >&2; exit 2 ;; \
    esac \
 && PIP_CONFIG_FILE=/run/secrets/pip-config /opt/venv/bin/pip install --no-cache-dir --quiet ${links} \
      -r /opt/requirements.txt -c /in/cuda.txt 'setuptools>=77' \
 && cd /opt/venv/lib/python3*/site-packages \
 && rm -rf ray/jars ray/cpp torch/include torch/share pyarrow/include pyarrow/tests pandas/tests sklearn/tests test \
 && find . -name '*.a' -delete \
 && echo 'llmtrain:x:1000:1000::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'llmtrain:x:1000:' >> /etc/group \
 && python3 -m compileall -q -x 'lib2to3/tests|test/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM scratch AS source
COPY pyproject.toml README.md MANIFEST.i[n] /src/
COPY llmtrain /src/llmtrain
COPY jobs /src/jobs

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
ENTRYPOINT ["llmtrain-stage"]
