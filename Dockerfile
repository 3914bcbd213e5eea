# inferno in a container, with the tested versions of constraints.txt: see docs/install.md.
#   docker build --tag inferno .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" inferno train +experiment=top11004
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build

# torch for processors alone. For NVIDIA's GPUs: --build-arg TORCH=https://pypi.org/simple
ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRAS=parallel,batch,optuna,parquet,external,flows

RUN python -m venv /opt/inferno
ENV PATH=/opt/inferno/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt ./
RUN pip install --constraint constraints.txt --index-url "${TORCH}" --extra-index-url https://pypi.org/simple torch
COPY pyproject.toml README.md LICENSE ./
COPY conf ./conf
COPY src ./src
RUN pip install --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/inferno /opt/inferno
# A home that any user may write to: the user of a batch system is not known here.
ENV PATH=/opt/inferno/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
WORKDIR /work
ENTRYPOINT ["inferno"]
CMD ["--help"]
