"""The network of an ONNX file as a layer: run by onnxruntime, on the CPU, in the precision of the file.

The file itself is part of the layer's state, and so of a checkpoint: a run can be applied where the file is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inferno_cli.errors import ConfigError, ExportError, closest
from inferno_cli.files import user_path
from inferno_cli.section import Names

if TYPE_CHECKING:
    from inferno_cli.training.onnx import Graph

FLOATS: Mapping[int, type] = {1: np.float32, 11: np.float64}
"""Types of tensors that features may have, by the number that ONNX has for them."""
FEATURES = "features"
"""Key in the metadata of a file of ours with the names of its features, as JSON."""
PREFIX = "imported_"
"""In front of all names of the file's graph in a larger one."""
SEVERE = 3
"""Messages of onnxruntime that are shown: errors."""


@dataclass(frozen=True)
class Signature:
    """What the graph of a file takes and gives.

    Attributes:
        inputs: Type and shape of each input by name; a dimension that is free is None, an unknown shape too.
        outputs: The same of the outputs; those that are no tensors have neither.
        features: Names of the features, where the file knows them.
    """

    inputs: dict[str, tuple[int, tuple[int | None, ...] | None]]
    outputs: dict[str, tuple[int, tuple[int | None, ...] | None]]
    features: Names | None

    @classmethod
    def of(cls, content: bytes, where: str) -> Signature:
        """Read it from the content of a file that is ``where``.

        Raises:
            ConfigError: If it is no ONNX file.
        """
        import onnx

        try:
            model = onnx.load_from_string(content)
            onnx.checker.check_model(model)
        except Exception as error:  # those of protobuf and of ONNX's checker
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"model.network.file: {where} is no ONNX file that can be read ({reason})") from error
        known = {item.name for item in model.graph.initializer}  # older files list constants as inputs
        inputs = {item.name: _tensor(item) for item in model.graph.input if item.name not in known}
        metadata = {item.key: item.value for item in model.metadata_props}
        features = tuple(json.loads(metadata[FEATURES])) if metadata.get(FEATURES, "").startswith("[") else None
        return cls(inputs, {item.name: _tensor(item) for item in model.graph.output}, features)

    def columns(self, names: Names, where: str) -> dict[str, tuple[int, ...]]:
        """Return which features, by number, each input takes: all of them one matrix, or each input one.

        Inputs that are called as features take these, whatever their order.

        Raises:
            ConfigError: If the features and the inputs do not go together.
        """
        fix = f"Fix model.network.file ({where}), or dataset.features"
        if self.features is not None and self.features != names:
            raise ConfigError(
                f"the network of model.network.file is for the features {', '.join(self.features)}, and "
                f"dataset.features has {', '.join(names)}. They must be the same, in the same order. {fix}"
            )
        for name, (kind, shape) in self.inputs.items():
            _require_matrix(name, kind, shape, fix)
        if len(self.inputs) == 1:
            ((name, (_, shape)),) = self.inputs.items()
            width = None if shape is None or len(shape) < 2 else shape[1]
            if width not in (None, len(names)):
                raise ConfigError(
                    f"input {name!r} of the network takes {width} features, and dataset.features has {len(names)} "
                    f"({', '.join(names)}). {fix}"
                )
            return {name: tuple(range(len(names)))}
        if len(self.inputs) != len(names):
            raise ConfigError(
                f"the network has {len(self.inputs)} inputs ({', '.join(self.inputs)}), and dataset.features has "
                f"{len(names)} ({', '.join(names)}): each input takes one feature. {fix}"
            )
        called = [name for name in self.inputs if name in names]
        if called and len(called) < len(names):
            missing = ", ".join(name for name in self.inputs if name not in names)
            raise ConfigError(
                f"some inputs of the network are called as features ({', '.join(called)}) and others are not "
                f"({missing}): it is not known which feature these take. {fix}"
            )
        order = [names.index(name) for name in called] if called else list(range(len(names)))
        return {name: (number,) for name, number in zip(self.inputs, order, strict=True)}

    def output(self, wanted: str | None, where: str) -> str:
        """Return the name of the output that is taken: the one that is wanted, or the one that there is.

        Raises:
            ConfigError: If that is not one.
        """
        if wanted is None and len(self.outputs) == 1:
            return next(iter(self.outputs))
        listed = ", ".join(self.outputs)
        if wanted is None:
            raise ConfigError(
                f"the network in {where} has {len(self.outputs)} outputs ({listed}); say which is the score with "
                "model.network.output"
            )
        if wanted not in self.outputs:
            raise ConfigError(
                f"model.network.output is {wanted!r}, and the network in {where} has the outputs {listed}"
                f"{closest(wanted, tuple(self.outputs))}"
            )
        return wanted


def read(place: str) -> bytes:
    """Return the content of a file; ConfigError if it cannot be read."""
    path = user_path(place)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"model.network.file: {path} cannot be read ({error.strerror or error}). Give the ONNX file of the score, "
            "or none, for a score that is among dataset.features"
        ) from error


class Imported(nn.Module):
    """The graph of a file from features to outputs, in which nothing is trained.

    The state is the ``content`` of the file, uint8, shape (n_bytes,), empty before it is known.
    """

    content: Tensor

    def __init__(self, names: Names, output: str | None, columns: Sequence[int] | None, n_outputs: int) -> None:
        super().__init__()
        self.names, self.output, self.columns, self.n_outputs = names, output, columns, n_outputs
        self.register_buffer("content", torch.empty(0, dtype=torch.uint8))

    def take(self, content: bytes) -> None:
        """Take the content of a file."""
        self.content = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(self.content.device)

    @property
    def file(self) -> bytes:
        """Content of the file."""
        return self.content.cpu().numpy().tobytes()

    @property
    def checksum(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.file).hexdigest()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        # Nobody knows the size of the file before.
        self.content = torch.empty_like(state_dict[f"{prefix}content"], device=self.content.device)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, x: Tensor) -> Tensor:
        """Run the graph on features, shape (..., n_features); the result has shape (..., n_outputs)."""
        if x.is_meta:
            return x.new_empty(*x.shape[:-1], self.n_outputs)
        found = self.run(x.detach().flatten(0, -2).cpu().numpy())
        return torch.from_numpy(found).to(x).reshape(*x.shape[:-1], self.n_outputs)

    def run(self, features: NDArray[Any], where: str = "the file of the network") -> NDArray[np.float64]:
        """Return the outputs for features, shape (n_events, n_features): shape (n_events, n_outputs).

        Raises:
            ConfigError: If the graph cannot be run, or has other outputs.
        """
        session, signature = _session(self.file, where)
        name = signature.output(self.output, where)
        feeds = {}
        for key, columns in signature.columns(self.names, where).items():
            kind, shape = signature.inputs[key]
            values: NDArray[Any] = features[:, list(columns)].astype(FLOATS[kind])
            feeds[key] = values[:, 0] if shape is not None and len(shape) == 1 else values
        try:
            (found,) = session.run([name], feeds)
        except Exception as error:  # onnxruntime has a class for each of its codes
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"the network in {where} cannot be run on {len(features)} events: {reason}") from error
        return self._chosen(found, name, len(features), where)

    def _chosen(self, found: Any, name: str, n_events: int, where: str) -> NDArray[np.float64]:
        if not isinstance(found, np.ndarray):
            raise ConfigError(
                f"output {name!r} of the network in {where} is a {type(found).__name__}, and a tensor is needed; a "
                "classifier of scikit-learn is exported with options={'zipmap': False}"
            )
        values: NDArray[Any] = found.reshape(n_events, -1) if found.shape[:1] == (n_events,) else found
        is_right = values.ndim == 2 and len(values) == n_events
        if not is_right or not np.issubdtype(values.dtype, np.floating):
            raise ConfigError(
                f"output {name!r} of the network in {where} has the shape {found.shape} and the type {found.dtype} for "
                f"{n_events} events, expected numbers of shape ({n_events}, n_outputs); see model.network.output"
            )
        n_found = values.shape[1]
        if self.columns is not None:
            if max(self.columns) >= n_found:
                raise ConfigError(
                    f"model.network.columns has {max(self.columns)}, and output {name!r} of the network in {where} has "
                    f"the columns 0 to {n_found - 1}"
                )
            values = values[:, list(self.columns)]
        if values.shape[1] != self.n_outputs:
            raise ConfigError(
                f"output {name!r} of the network in {where} has {n_found} columns, and {self.n_outputs} are needed by "
                "model.summary; choose with model.network.columns=[...]"
            )
        return values.astype(np.float64)

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Add the graph of the file to another one; return the name of its output.

        Raises:
            ExportError: If it is in a version of ONNX that cannot be changed to that of the other graph.
        """
        model = at_least(self.file, graph.domains[""])
        signature = Signature.of(self.file, "the file of the network")
        for key, columns in signature.columns(self.names, "the file of the network").items():
            kind, shape = signature.inputs[key]
            own = x
            if columns != tuple(range(len(self.names))):
                own = graph("Gather", x, graph.constant(columns, np.int64), axis=-1)
            if shape is not None and len(shape) == 1:
                own = graph("Squeeze", own, graph.constant([-1], np.int64))
            graph.cast(own, FLOATS[kind], PREFIX + key)
        graph.nodes += model.graph.node
        graph.constants += model.graph.initializer
        graph.domains |= {item.domain: item.version for item in model.opset_import}
        name = signature.output(self.output, "the file of the network")
        made = graph("Reshape", graph.cast(PREFIX + name, np.float64), graph.constant([0, -1], np.int64))
        if self.columns is None:
            return made
        return graph("Gather", made, graph.constant(self.columns, np.int64), axis=-1)


def _tensor(item: Any) -> tuple[int, tuple[int | None, ...] | None]:
    """Return type and shape of an input or output; 0 if it is no tensor."""
    if not item.type.HasField("tensor_type"):
        return 0, None
    kind = item.type.tensor_type
    if not kind.HasField("shape"):
        return kind.elem_type, None
    return kind.elem_type, tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)


def _require_matrix(name: str, kind: int, shape: tuple[int | None, ...] | None, fix: str) -> None:
    """Check that an input takes features of any number of events."""
    from onnx import TensorProto

    if kind not in FLOATS:
        found = TensorProto.DataType.Name(kind) if kind else "no tensor"
        raise ConfigError(f"input {name!r} of the network is of type {found}, expected FLOAT or DOUBLE. {fix}")
    if shape is not None and (len(shape) not in (1, 2) or shape[0] not in (None, 0)):
        raise ConfigError(
            f"input {name!r} of the network has the shape {list(shape)}, expected (events, features) with a number of "
            f"events that is free: export it with a dynamic first dimension. {fix}"
        )


@lru_cache(maxsize=8)
def _session(content: bytes, where: str) -> tuple[Any, Signature]:
    """Return onnxruntime's session of a file, on one thread, so that a number is the same again; and its signature."""
    signature = Signature.of(content, where)
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "model.network: an ONNX file is run by onnxruntime, which is not installed; "
            "pip install 'inferno-cli[external]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SEVERE
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]), signature
    except Exception as error:  # onnxruntime has a class for each of its codes
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"model.network.file: onnxruntime cannot load {where} ({reason})") from error


def at_least(content: bytes, version: int) -> Any:
    """Return the model of a file with operators of a version or a later one, all names with a prefix.

    Newer ones stay what they are: what else is in an exported graph means the same in them.

    Raises:
        ExportError: If older ones cannot be changed.
    """
    import onnx
    from onnx import compose, inliner, version_converter

    model = inliner.inline_local_functions(onnx.load_from_string(content))
    own = {item.domain: item.version for item in model.opset_import}
    if own.setdefault("", version) < version:
        try:
            model = version_converter.convert_version(model, version)
        except Exception as error:  # a C++ error of any kind, by operator
            reason = str(error).strip().splitlines()[0]
            raise ExportError(
                f"the network of model.network.file has operators of ONNX version {own['']}, which cannot be changed "
                f"to {version}, that of the files of a run ({reason}). Export it again with opset {version} or later"
            ) from error
    if model.graph.sparse_initializer:
        raise ExportError("the network of model.network.file has sparse constants, which cannot be exported again")
    return compose.add_prefix(model, PREFIX)
