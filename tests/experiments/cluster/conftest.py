"""A SLURM cluster of two nodes, both of them this machine, for as long as the tests of the launch files take."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

NODES = ("first", "second")
# auth/none and cred/none: nobody else talks to these daemons, and munge would need a daemon and a key of its own.
# A requeued job waits as long as credentials live, 120 s if nobody says otherwise.
CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
GresTypes=gpu
NodeName=first NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[1]} CPUs={cpus} RealMemory=1000 Gres=gpu:1
NodeName=second NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[2]} CPUs={cpus} RealMemory=1000 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES State=UP
"""
GRES = "NodeName=first,second Name=gpu File=/dev/null\n"


class Cluster:
    """What a user of the cluster types."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *command, **more):
        done = subprocess.run(  # noqa: S603
            command,
            env={**self.environment, **more},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def job(self, number):
        """Return what SLURM knows of a job."""
        words = self.call("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def wait(ask, seconds, tell):
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, tell()
        time.sleep(0.2)
    return answer


@pytest.fixture(scope="session")
def wait_for():
    """Return a function that asks until an answer is true, for so many seconds, and else tells what it knows."""
    return wait


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Start the daemons, and stop them whatever happens."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "srun", "scontrol") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (Debian and Ubuntu: apt-get install slurmctld slurmd slurm-client)")
    if os.geteuid() != 0:
        pytest.skip("slurmd starts jobs as root only")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    settings = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "cpus": os.cpu_count()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, ports=free_ports(3), **settings))
    (folder / "gres.conf").write_text(GRES)
    made = Cluster(folder)
    commands = [["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-N", node] for node in NODES)]
    daemons = [
        subprocess.Popen(command, env=made.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        for command in commands
    ]
    try:
        logs = lambda: "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))  # noqa: E731
        wait(lambda: ready(made), 30, logs)
        yield made
    finally:
        stop(made)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def ask(cluster, *command):
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    return done.stdout.strip()


def ready(cluster):
    return ask(cluster, "sinfo", "--noheader", "--format=%D %t") == "2 idle"


def stop(cluster):
    """End what a failed test has left running; a job outlives the daemons."""
    ask(cluster, "scancel", "--user", getpass.getuser())
    with contextlib.suppress(AssertionError):
        wait(lambda: not ask(cluster, "squeue", "--noheader"), 15, str)
