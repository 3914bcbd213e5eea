"""Start, or stop, a Slurm of one node on this machine, for tests: its own folder, ports and key; needs root.

    python scripts/one_node_slurm.py start FOLDER
    python scripts/one_node_slurm.py stop FOLDER

While it runs /etc/slurm/slurm.conf is a link to its configuration; where there is such a file, it does not start.

Needs munged, slurmctld and slurmd: apt-get install slurm-wlm munge. There is no accounting (slurmdbd).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why it cannot be started here; "" if it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed"
    if PLACE.exists():
        return f"there is a Slurm already: {PLACE}"
    return "" if os.geteuid() == 0 else "slurmctld and slurmd are started by root alone"


def start(folder: Path) -> None:
    """Start it, and return once the node is idle.

    Raises:
        RuntimeError: If a program ends, or the node is not there within 30 seconds.
    """
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    host = socket.gethostname().partition(".")[0]
    values = {"host": host, "ports": _free_ports(), "cpus": os.cpu_count(), "memory": memory}
    conf.write_text(CONFIGURATION.format(folder=folder, **values))
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.unlink(missing_ok=True)  # a link to a folder that is gone
    PLACE.symlink_to(conf)
    files = [f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")]
    _call("munged", "--force", f"--socket={folder}/munge.socket", *files)
    _call("slurmctld", "-f", str(conf))
    _call("slurmd", "-f", str(conf), "-N", host)
    for _ in range(150):
        said = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
        if said.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    stop(folder)
    raise RuntimeError(f"the node of Slurm is {said.stdout.strip() or said.stderr.strip()}; see the logs in {folder}")


def stop(folder: Path) -> None:
    """End its jobs and its programs."""
    subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30)
    for name in ("slurmd", "slurmctld", "munge"):
        if (file := folder / f"{name}.pid").exists():
            _end(int(file.read_text()))
    if PLACE.is_symlink() and PLACE.readlink() == folder / "slurm.conf":
        PLACE.unlink()


def _end(process: int) -> None:
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 2.0)):
        until = time.monotonic() + seconds
        try:
            os.kill(process, number)
            while time.monotonic() < until:
                os.kill(process, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def _call(program: str, *arguments: str) -> None:
    found = shutil.which(program, path=_path())
    assert found is not None, f"{program} is not installed"
    done = subprocess.run([found, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    place = Path(sys.argv[2]).absolute()
    if sys.argv[1] == "stop":
        stop(place)
    elif why := missing():
        sys.exit(why)
    else:
        start(place)
