"""What a SLURM job asks for, and whether its partition can ever give it: asked before anything is submitted."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass

from musicgen_core.util.slurm import ask


@dataclass(frozen=True, kw_only=True)
class Request:
    """One job. The names of variables say what a user changes to change the figure (config/README.md)."""

    what: str
    """Who asks, as a person would say it."""

    partition: str | None
    """None: the cluster's default."""

    account: str | None = None
    nodes: int = 1
    processes_per_node: int = 1
    cpus_per_process: int = 1
    gpus_per_node: int = 0
    memory_mb: int = 0
    """Per node; 0: not said."""

    runtime_min: int = 0
    """0: not said."""

    least_min: int = 0
    """A shorter time is raised to this before it is asked for."""

    remedies: dict[str, str]
    """partition, account, nodes, cpus, gpus, memory, runtime -> the variable that sets it."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    count: int
    cpus: int
    memory_mb: int
    gpus: int


@dataclass(frozen=True)
class Partition:
    name: str
    default: bool
    limit_min: int | None
    """Longest job; None: no limit."""

    kinds: tuple[NodeKind, ...]


def read_partitions() -> dict[str, Partition]:
    """All partitions by name; empty when sinfo cannot say."""
    shown = ask("sinfo", "--noheader", "--all", "--exact", "--format=%P|%l|%D|%c|%m|%G")
    found: dict[str, Partition] = {}
    for line in (shown or "").splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6:
            return {}
        shown_name, limit, count, cpus, memory, gres = fields
        name = shown_name.rstrip("*")
        numbers = re.findall(r"(?:^|\|)(\d+)", f"{count}|{cpus}|{memory}")
        if len(numbers) != 3:
            return {}
        kind = NodeKind(int(numbers[0]), int(numbers[1]), int(numbers[2]), count_gpus(gres))
        former = found[name].kinds if name in found else ()
        found[name] = Partition(name, shown_name.endswith("*"), parse_minutes(limit), (*former, kind))
    return found


def count_gpus(gres: str) -> int:
    """GPUs in what sinfo shows of a node: `gpu:2`, `gpu:a100:4(S:0-1),shard:8`, `(null)`."""
    return sum(int(number) for number in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", gres))


def parse_minutes(limit: str) -> int | None:
    """`4:00:00`, `2-00:00:00`, `30:00`, `infinite` -> minutes, rounded down; None without a limit."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    # sinfo shows days-hours:minutes:seconds from the right, and `minutes:seconds` when there are no hours
    hours, minutes = (parts[0], parts[1]) if len(parts) == 3 else (0, parts[0])
    return (int(days or 0) * 24 + hours) * 60 + minutes


def check_request(request: Request, partitions: dict[str, Partition]) -> None:
    """Raise ValueError, in one line with the figures and the remedy, for a job that the partition can never start.

    Where SLURM cannot say (`partitions` is empty), all is well: sbatch decides.
    """
    if not partitions:
        return
    remedies = request.remedies
    if request.partition is None:
        default = [partition for partition in partitions.values() if partition.default]
        if not default:
            raise ValueError(
                f"{request.what}: this cluster has no default partition; set {remedies['partition']} to one of "
                f"{', '.join(sorted(partitions))}"
            )
        partition = default[0]
    elif request.partition not in partitions:
        raise ValueError(
            f"{request.what}: no partition {request.partition} here; set {remedies['partition']} to one of "
            f"{', '.join(sorted(partitions))}"
        )
    else:
        partition = partitions[request.partition]
    where = f"{request.what}: partition {partition.name}"
    asked_min = max(request.runtime_min, request.least_min)
    if partition.limit_min is not None and asked_min > partition.limit_min:
        if request.least_min > partition.limit_min:
            said, remedy = f"such a job needs at least {request.least_min} min", ""
        else:
            said, remedy = f"{asked_min} min were asked for", f"lower {remedies['runtime']} or "
        raise ValueError(
            f"{where} allows {partition.limit_min} min, but {said}; {remedy}take another partition "
            f"({remedies['partition']})"
        )
    if partition.kinds:
        _check_nodes(request, partition, where)


def _check_nodes(request: Request, partition: Partition, where: str) -> None:
    remedies = request.remedies
    total = sum(kind.count for kind in partition.kinds)
    if request.nodes > total:
        raise ValueError(f"{where} has {total} nodes, but {request.nodes} were asked for; lower {remedies['nodes']}")
    cpus = request.processes_per_node * request.cpus_per_process
    asked = {"CPUs": cpus, "GPUs": request.gpus_per_node, "MB of memory": request.memory_mb}
    names = {"CPUs": remedies["cpus"], "GPUs": remedies["gpus"], "MB of memory": remedies["memory"]}

    def given(kind: NodeKind) -> dict[str, int]:
        return {"CPUs": kind.cpus, "GPUs": kind.gpus, "MB of memory": kind.memory_mb}

    for unit, number in asked.items():
        best = max(given(kind)[unit] for kind in partition.kinds)
        if number > best:
            sum_of = (
                f" ({request.processes_per_node} processes x {request.cpus_per_process})"
                if unit == "CPUs" and request.processes_per_node > 1
                else ""
            )
            raise ValueError(
                f"{where} has nodes with {best} {unit}, but {number}{sum_of} on a node were asked for; lower "
                f"{names[unit]} or take another partition ({remedies['partition']})"
            )
    fitting = sum(k.count for k in partition.kinds if all(given(k)[unit] >= asked[unit] for unit in asked))
    if request.nodes > fitting:
        wanted = ", ".join(f"{number} {unit}" for unit, number in asked.items() if number)
        raise ValueError(
            f"{where} has {fitting} nodes with {wanted}, but {request.nodes} were asked for; lower {remedies['nodes']}"
        )


def check_account(request: Request) -> None:
    """Raise ValueError when accounting knows the user's accounts and this is none of them; go on when it cannot say."""
    if request.account is None:
        return
    shown = ask(
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "associations",
        "format=account",
        "where",
        f"user={getpass.getuser()}",
    )
    accounts = sorted({line.strip() for line in (shown or "").splitlines() if line.strip()})
    if accounts and request.account.lower() not in accounts:
        raise ValueError(
            f"{request.what}: no account {request.account} for this user; set {request.remedies['account']} to one of "
            f"{', '.join(accounts)}"
        )


def check_accounting(request: Request) -> None:
    """Raise ValueError where nobody can say which accounts there are.

    For jobs that Snakemake submits: its executor plugin asks sacctmgr, then sshare, about the account, and waits for
    ever when both fail (snakemake-executor-plugin-slurm 2.8.0, accounts.py: the error is lost in a thread).
    """
    if request.account is None:
        return
    known = ask("sacctmgr", "-n", "-s", "list", "user", getpass.getuser(), "format=account%256")
    if not (known or "").strip() and ask("sshare", "-U", "--format", "Account%256", "--noheader") is None:
        raise ValueError(
            f"{request.what}: neither sacctmgr nor sshare can say whether there is an account {request.account}; unset "
            f"{request.remedies['account']} where the cluster has no accounts, else try again when they answer"
        )
