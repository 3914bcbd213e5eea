"""The command line: ``inferno STEP [overrides]``.

A step's word comes first; what follows is Hydra's. Every module in ``inferno_cli.steps`` is a step, so that
adding one is adding a file there, or in a package of one's own (see ``choices``), and its file in ``conf``.
"""

from __future__ import annotations

import ast
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from inferno_cli import __version__
from inferno_cli.choices import STEPS, choices
from inferno_cli.cli.flags import DEBUG, divided, require_known
from inferno_cli.cli.messages import known, translated, unresolved
from inferno_cli.errors import ConfigError, InfernoError, Stopped, closest, first_line
from inferno_cli.memory import require_memory
from inferno_cli.signals import listening

log = logging.getLogger("inferno_cli")

MISTAKE, FAILURE, BROKEN_PIPE = 1, 2, 141
HELP = frozenset({"-h", "--help"})
MULTIRUN = frozenset({"-m", "--multirun"})
NAMED = frozenset({"-cn", "--config-name", "-cp", "--config-path"})
"""Flags that make another configuration than that of the step."""


def step_help() -> dict[str, str]:
    """Names of the steps, and the first line of each one's docstring, read without importing them."""
    found = {}
    for step in choices(STEPS).values():
        source = step.file.read_text(encoding="utf-8")
        found[step.name] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].removesuffix(".")
    return found


def usage() -> str:
    """Return the help of the whole program."""
    found = step_help()
    width = max(map(len, found))
    steps = "\n".join(f"  {name:<{width}} {text}" for name, text in found.items())
    return f"""inferno {__version__}: train the histogram for the fit, and compare.
usage: inferno STEP [key=value ...]      (or: python -m inferno_cli STEP ...)
steps:
{steps}
examples:
  inferno train -m experiment=top11004 model=bce,inferno model.bins=5,10
  inferno fit workspace=outputs/.../workspace.json fit=data
  inferno compare runs=outputs/sweeps/DATE/TIME
after a step: --help (its keys and choices), --cfg job (the whole configuration), -m (sweep),
              --config-dir DIR (your own YAML files), --debug (tracebacks)"""


def main() -> None:
    """Entry point of the console script and of ``python -m inferno_cli``."""
    logging.raiseExceptions = False  # a log that nobody reads any more is no reason for a traceback
    try:
        with listening():
            _main()
            sys.stdout.flush()
    except BrokenPipeError:  # of `| head`; Python would complain once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def _main() -> None:
    if "COMP_LINE" in os.environ or any(argument == "-sc" for argument in sys.argv[1:]):
        from inferno_cli.cli.completion import prepare

        prepare(list(step_help()))
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage() + "\n")
        return
    if arguments[0] == "--version":
        sys.stdout.write(f"inferno {__version__}\n")
        return
    name, *rest = arguments
    debug = DEBUG in rest
    rest = [argument for argument in rest if argument != DEBUG]
    try:
        if name.startswith("-"):
            require_known(name)
            raise ConfigError(f"{name} stands before the step; write inferno STEP ... {name}")
        if name not in step_help():
            raise ConfigError(f"unknown step {name!r}{closest(name, step_help())}. `inferno --help` lists them")
        _run(name, rest)
    except BrokenPipeError:
        raise
    except Stopped as stop:
        sys.stderr.write(f"stopped by {stop}: {stop.note or 'what was not finished is not kept'}\n")
        raise
    except Exception as error:
        if debug:
            raise
        error = known(error)
        sys.stderr.write(_message(error) + "\n")
        sys.exit(FAILURE if isinstance(error, InfernoError) else MISTAKE)


def _message(error: Exception) -> str:
    if isinstance(error, InfernoError):
        return f"{type(error).__name__}: {error}"
    return (
        f"{type(error).__name__}: {first_line(error)}. This is a mistake in inferno_cli: --debug shows the traceback "
        "for a report"
    )


def _run(name: str, arguments: list[str]) -> None:
    """Hand a step to Hydra, with errors raised to us instead of printed by it."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from inferno_cli.cli.help import keys_of
    from inferno_cli.cli.overrides import as_hydra_reads, with_optional
    from inferno_cli.cli.shard import with_shard
    from inferno_cli.cli.workflow import POINT, with_point, with_workflow
    from inferno_cli.config.load import careful, config_folder

    require_memory()
    step = choices(STEPS)[name].load()
    composing = True

    def task(composed: Any) -> Any:
        nonlocal composing
        composing = False
        return _task(step, composed)

    flags, overrides = divided(arguments)
    if POINT in flags:
        flags, overrides = with_point(flags, overrides, name)
    flags, overrides = with_shard(flags, overrides, MULTIRUN, step.SCHEMA)
    flags, overrides = with_workflow(flags, overrides, MULTIRUN)
    overrides = as_hydra_reads(step, overrides, sweeps=bool(MULTIRUN & set(flags)))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *flags, *overrides]
    try:
        with careful():
            if not NAMED & set(flags):
                overrides = with_optional(step, name, overrides, _config_dir(flags))
                sys.argv = [sys.argv[0], *flags, *overrides]
            if HELP & set(flags):
                sys.stdout.write(keys_of(name, step.SCHEMA, step_help()[name], overrides, _config_dir(flags)))
                return
            with _nothing_left():
                hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)(task)()
    except _Ended as ended:
        raise ended.error from ended.__cause__
    except KeyboardInterrupt:  # not by a signal: of a library, or from another process
        stop = Stopped(signal.SIGINT)
        _end_sweep(stop)
        raise stop from None
    except Stopped as stop:
        _end_sweep(stop)
        raise
    except HydraException as error:
        raise translated(error, name, overrides, _config_dir(flags)) from error
    except OmegaConfBaseException as error:
        raise unresolved(error) from error
    except Exception as error:
        # Hydra's own, such as for dataset=null, or a launcher's; one from a job in another process was recorded there.
        if composing and not isinstance(known(error), InfernoError) and not getattr(error, "recorded", False):
            raise ConfigError(f"{' '.join(overrides)}: {first_line(error)}") from error
        raise


def _task(step: Any, composed: Any) -> Any:
    from hydra.core.hydra_config import HydraConfig

    from inferno_cli.cli.shard import SHARD_KEY
    from inferno_cli.config.load import resolve
    from inferno_cli.config.paths import make_absolute

    job = HydraConfig.get()
    if job.job.chdir:  # relative paths are of the folder in which the command was given
        os.chdir(job.runtime.cwd)
    _quiet()
    if "BasicLauncher" not in (job.launcher or {}).get("_target_", "BasicLauncher"):
        # Points side by side: more threads than CPUs are far slower than one each. torch is not imported yet.
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

    def work() -> Any:
        if not _is_multirun(job) and (job.sweeper or {}).get("params"):  # Hydra would run the first point alone
            raise ConfigError(f"a sweep over {', '.join(job.sweeper.params)} needs -m: inferno train -m ...")
        make_absolute(composed, job)
        return step.run(resolve(step.SCHEMA, composed), composed)

    # The listener is there already, but in a process of joblib or submitit.
    with listening(), _told(job, composed):
        return _in_folder(job, composed, work) if SHARD_KEY in step.SCHEMA.model_fields else work()


def _is_multirun(job: Any) -> bool:
    from hydra.types import RunMode

    return bool(job.mode == RunMode.MULTIRUN)


class _Ended(BaseException):
    """The error of a single run on its way through Hydra, which would say something of its own to an exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _told(job: Any, composed: Any) -> Iterator[None]:
    """Say what ended a job: in a sweep at once, as the other points go on; Hydra raises the first again at the end."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        found = known(error, composed, job.runtime.output_dir)
        found.recorded = True  # type: ignore[attr-defined]
        if not _is_multirun(job):
            raise _Ended(found) from error
        sys.stderr.write(f"job {job.job.num} ({job.job.override_dirname}): {_message(found)}\n")
        if found is not error:
            raise found from error
        raise


def _in_folder(job: Any, composed: Any, work: Callable[[], Any]) -> Any:
    """Do the work of a step that has a folder of its own, and leave there how it ended."""
    from inferno_cli.runs.folder import holds_finished, owned
    from inferno_cli.runs.shards import kept, require_no_shard
    from inferno_cli.runs.sweeps import progress

    folder = Path(job.runtime.output_dir)
    if composed.get("shard") is not None:  # the folder is that of the whole run: of a part it says nothing
        with kept(folder):
            return work()
    with owned(folder):
        require_no_shard(folder)
        try:
            return work()
        except (KeyboardInterrupt, Stopped) as error:
            stop = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
            whole = holds_finished(folder)
            stop.note = stop.note or f"the run in {folder} {'had' if whole else 'is not'} finished"
            _record(folder, composed, "stopped", str(stop))
            raise stop from None
        except BrokenPipeError:
            raise
        except Exception as error:
            found = known(error, composed)
            if not isinstance(found, InfernoError):  # the log keeps what the terminal does not show
                logging.getLogger().error("%s", _message(found), exc_info=error)
            _record(folder, composed, "failed", f"{type(found).__name__}: {str(found).strip()}")
            raise
        finally:
            if _is_multirun(job):
                study = composed.get("reuse")
                with suppress(InfernoError):  # of a file of the sweep; whoever needs it says so
                    log.info(progress(Path(job.sweep.dir), None if study is None else Path(study)))


def _record(folder: Path, composed: Any, state: Literal["failed", "stopped"], text: str) -> None:
    """Write down how a run ended.

    What is finished stays, also the run before of a configuration that is refused, and so do shards: the run that
    collects them says "running" first. What is gone stays gone.
    """
    from inferno_cli.runs.folder import Status, holds_finished, keep_configuration

    if holds_finished(folder) or not folder.is_dir():
        return
    said = Status.read(folder)
    if said is not None and said.state == "shards":
        return
    with suppress(OSError):  # the error that is being told is the one to see
        if said is None:
            keep_configuration(folder, composed)
        replace(said or Status("running"), state=state, error=text).write(folder)


@contextmanager
def _nothing_left() -> Iterator[None]:
    """Leave nothing of a multirun that is refused before the first of its jobs; a job's own error is recorded there."""
    try:
        yield
    except Exception as error:
        from inferno_cli.runs.asked import AskedCallback

        before, AskedCallback.before = AskedCallback.before, None
        if before is not None and not getattr(error, "recorded", False):
            with suppress(OSError):  # the refusal is the one to see
                before.restore()
        raise


def _end_sweep(stop: Stopped) -> None:
    """End what the multirun that this process has begun leaves behind, where there is one."""
    from inferno_cli.runs.mlflow.sweep import SweepCallback
    from inferno_cli.runs.sweeps import end

    sweep, SweepCallback.folder = SweepCallback.folder, None
    if sweep is not None:
        with suppress(Exception):  # the signal is what is told; it may have halved an import that is needed here
            end(sweep, str(stop))
        stop.note = stop.note or f"what has finished stays in {sweep}"


def _config_dir(flags: list[str]) -> Path | None:
    for flag, value in pairwise(flags):
        if flag in ("--config-dir", "-cd"):
            return Path(value)
    return None


def _quiet() -> None:
    """Show our own messages on the terminal; those of the libraries only from warnings up."""
    log.setLevel(logging.INFO)
    if not any(getattr(handler, "is_console", False) for handler in log.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.is_console = True  # type: ignore[attr-defined]
        log.addHandler(handler)
    for library in ("cabinetry", "pyhf", "lightning.pytorch", "lightning", "mlflow", "alembic", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
