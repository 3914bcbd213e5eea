"""The command line: ``inferno STEP [overrides]``.

A step's word comes first; what follows is Hydra's. Every module in ``inferno_cli.cli.steps`` is a step, so that
adding one is adding a file there and its configuration in ``conf``.
"""

from __future__ import annotations

import ast
import importlib
import logging
import os
import pkgutil
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, get_args

from inferno_cli import __version__
from inferno_cli.cli import steps
from inferno_cli.errors import ConfigError, InfernoError, closest

FAILURE, BROKEN_PIPE = 2, 141


def step_help() -> dict[str, str]:
    """Names of the steps, and the first line of each one's docstring, read without importing them."""
    found = {}
    for module in pkgutil.iter_modules(steps.__path__):
        source = (Path(steps.__path__[0]) / f"{module.name}.py").read_text(encoding="utf-8")
        found[module.name] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].removesuffix(".")
    return found


def usage() -> str:
    """Return the help of the whole program."""
    lines = [f"  {name:<8} {text}" for name, text in step_help().items()]
    return "\n".join(
        [
            f"inferno {__version__}: train the histogram for the fit, and compare.",
            "",
            "usage: inferno STEP [key=value ...]      (or: python -m inferno_cli STEP ...)",
            "",
            "steps:",
            *lines,
            "",
            "examples:",
            "  inferno data +experiment=top11004",
            "  inferno train +experiment=top11004",
            "  inferno train -m +experiment=top11004 model=bce,inferno model.bins=5,10",
            "  inferno fit workspace=outputs/.../workspace.json fit=data",
            "  inferno predict run=outputs/runs/DATE/TIME",
            "  inferno compare runs=outputs/sweeps/DATE/TIME",
            "",
            "after a step: --help (its keys and choices), --cfg job (the whole configuration), -m (sweep),",
            "              --config-dir DIR (your own YAML files), --debug (tracebacks)",
        ]
    )


def main() -> None:
    """Entry point of the console script and of ``python -m inferno_cli``."""
    logging.raiseExceptions = False  # a log that nobody reads any more is no reason for a traceback
    try:
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
    debug = "--debug" in rest
    rest = [argument for argument in rest if argument != "--debug"]
    try:
        if name not in step_help():
            raise ConfigError(f"unknown step {name!r}{closest(name, step_help())}. `inferno --help` lists them")
        _run(name, rest, debug)
    except BrokenPipeError:
        raise
    except (InfernoError, OSError) as error:
        if debug:
            raise
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped by the user; the run is not recorded as finished\n")
        sys.exit(130)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, InfernoError):
        return f"OutputError: {error}. Free the place, or choose another folder with output_dir=..."
    return f"{type(error).__name__}: {error}"


def _fail(error: Exception) -> NoReturn:
    sys.stderr.write(_message(error) + "\n")
    sys.exit(FAILURE)


def _run(name: str, arguments: list[str], debug: bool) -> None:
    """Hand a step to Hydra, with errors raised to us instead of printed by it."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from inferno_cli.config import config_folder, resolve

    step = importlib.import_module(f"inferno_cli.cli.steps.{name}")

    composing = True

    def task(composed: Any) -> Any:
        nonlocal composing
        composing = False
        _quiet()
        job = HydraConfig.get()
        if "BasicLauncher" not in job.launcher.get("_target_", "BasicLauncher"):
            # Points side by side: more threads than CPUs are far slower than one each. torch is not imported yet.
            os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
        try:
            _require_multirun(job)
            return step.run(resolve(step.schema(), composed), composed)
        except BrokenPipeError:
            raise
        except (InfernoError, OSError) as error:
            _record(job, error)
            if debug:
                raise
            if job.mode == RunMode.RUN:
                _fail(error)
            # The other points of a sweep go on; Hydra raises the first error again at the end.
            sys.stderr.write(f"job {job.job.num} ({job.job.override_dirname}): {_message(error)}\n")
            raise
        except BaseException as error:  # not one of ours: recorded, and shown with its traceback at the end
            _record(job, error)
            if job.mode == RunMode.MULTIRUN and isinstance(error, Exception):
                sys.stderr.write(f"job {job.job.num} ({job.job.override_dirname}): {_message(error)}\n")
            raise
        finally:
            _say_progress(job, composed.get("reuse"))

    # Hydra's parser takes flags only before the first override.
    flags, overrides = _flags_first(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *flags, *overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)(task)()
    except HydraException as error:
        raise _translated(error, name) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_unresolved(str(error).splitlines()[0])) from error
    except (ValueError, RuntimeError) as error:
        # Hydra's own, such as for dataset=null, or a launcher's; one from a job in another process was recorded there.
        if composing and not isinstance(error, InfernoError) and not getattr(error, "recorded", False):
            raise ConfigError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error
        raise


def _record(job: Any, error: BaseException) -> None:
    """Leave in the folder of a job why it failed: nobody finds it in the output of a long sweep."""
    from inferno_cli.cli.status import Status

    error.recorded = True  # type: ignore[attr-defined]
    folder = Path(job.runtime.output_dir)
    if job.output_subdir is None:  # a step without a folder of its own
        return
    said = Status.read(folder) or Status("running")
    state: Any = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    text = _message(error) if isinstance(error, Exception) else type(error).__name__
    with suppress(OSError):  # the error that is being told is the one to see
        replace(said, state=state, error=text.strip()).write(folder)


def _say_progress(job: Any, study: str | None) -> None:
    """Say how far a multirun is after one of its jobs; ``study`` is the folder of a study."""
    from hydra.types import RunMode

    from inferno_cli.cli.status import progress

    if job.mode == RunMode.MULTIRUN and job.output_subdir is not None:
        whole = None if study is None else Path(study)
        logging.getLogger("inferno_cli").info(progress(Path(job.sweep.dir), whole))


def _require_multirun(hydra: Any) -> None:
    """Refuse a list of points (+sweep=...) without -m: Hydra would run the first configuration alone."""
    from hydra.types import RunMode

    if hydra.mode == RunMode.RUN and hydra.sweeper.get("params"):
        raise ConfigError(f"a sweep over {', '.join(hydra.sweeper.params)} needs -m: inferno train -m ...")


def _flags_first(arguments: list[str]) -> tuple[list[str], list[str]]:
    flags: list[str] = []
    overrides: list[str] = []
    takes_value = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"}
    takes_value |= {"--cfg", "-c", "--info", "-i", "--experimental-rerun"}
    queue = iter(arguments)
    for argument in queue:
        if argument.startswith("-"):
            flags.append(argument)
            if argument in takes_value and (value := next(queue, None)) is not None:
                flags.append(value)
        else:
            overrides.append(argument)
    return flags, overrides


def _translated(error: Exception, step: str) -> ConfigError:
    """Say what Hydra means in one message, without its advice to add the unknown key by force."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    text = "\n".join(str(item) for item in causes)
    first = str(error).strip().splitlines()[0].strip()
    if "is not in struct" in text and "Could not override" in first:
        key = first.split("'")[1]
        known, section = _keys(step), key.rpartition(".")[0]
        beside = [name for name in known if name.rpartition(".")[0] == section]
        return ConfigError(
            f"unknown key {key}{closest(key, known, listed=beside)}. `inferno {step} --cfg job` prints the keys"
        )
    for launcher, extra in (("joblib", "parallel"), ("submitit_local", "batch"), ("submitit_slurm", "batch")):
        if f"Could not find 'hydra/launcher/{launcher}'" in text:
            needed = f"pip install 'inferno-cli[{extra}]'"
            return ConfigError(f"hydra/launcher={launcher} needs a plugin of Hydra's: {needed}")
    options = [line.strip() for line in str(error).splitlines() if line.startswith("\t") and "=" not in line]
    if "Could not find" in first and options:
        wanted = first.partition("Could not find '")[2].rstrip("'").rsplit("/", 1)[-1]
        return ConfigError(f"{first}{closest(wanted, options)}")
    if first.startswith("Ambiguous value"):
        return ConfigError(f"{first}: add -m to sweep over the values, or write a list as 'key=[a,b]'")
    if first.startswith(("mismatched input", "token recognition", "no viable", "extraneous input")):
        return ConfigError(f"{first}; quote a value that holds brackets, braces or other signs: \"key='a[b]'\"")
    if first.startswith("Error parsing override"):
        return ConfigError(f"{first}; write key=value, and quote lists: 'key=[a,b]'")
    return ConfigError(first)


def _unresolved(text: str) -> str:
    """Say which choice of ``study.scale`` is none; the numbers of a study are looked up by that name."""
    from inferno_cli.config import Study

    found = re.search(r"Interpolation key 'study\.([^.']*)\.", text)
    choices = get_args(Study.model_fields["scale"].annotation)
    if found is None or found[1] in choices:
        return text
    return f"study.scale is {found[1]!r}; expected {' or '.join(map(repr, choices))}"


def _keys(step: str) -> list[str]:
    """Every key of a step's default configuration, dotted."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from inferno_cli.config import config_folder

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        values = OmegaConf.to_container(compose(step))

    def flatten(node: Any, prefix: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        return [key for k, v in node.items() for key in (f"{prefix}{k}", *flatten(v, f"{prefix}{k}."))]

    return flatten(values, "")


def _quiet() -> None:
    """Show our own messages on the terminal; those of the libraries only from warnings up."""
    ours = logging.getLogger("inferno_cli")
    ours.setLevel(logging.INFO)
    if not any(getattr(handler, "is_console", False) for handler in ours.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.is_console = True  # type: ignore[attr-defined]
        ours.addHandler(handler)
    for library in ("cabinetry", "pyhf", "lightning.pytorch", "lightning", "mlflow", "alembic", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
