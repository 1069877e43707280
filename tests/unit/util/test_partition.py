from dataclasses import replace

import pytest
from fake_slurm import play
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.config.site import TRAINING
from musicgen_core.util.partition import (
    NodeKind,
    Partition,
    Request,
    check_account,
    check_request,
    count_gpus,
    parse_minutes,
    read_partitions,
)

__all__ = ["play"]

PARTITIONS = {
    "cpu": Partition("cpu", True, None, (NodeKind(4, 32, 64000, 0),)),
    "gpu": Partition("gpu", False, 240, (NodeKind(2, 64, 256000, 8), NodeKind(6, 64, 128000, 4))),
}
ASKED = Request(
    what="training",
    partition="gpu",
    nodes=2,
    processes_per_node=4,
    cpus_per_process=8,
    gpus_per_node=4,
    memory_mb=100_000,
    runtime_min=240,
    remedies=TRAINING,
)


def test_what_fits_exactly_is_allowed() -> None:
    check_request(ASKED, PARTITIONS)
    check_request(replace(ASKED, nodes=8), PARTITIONS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "nope"}, "training: no partition nope here; set MUSICGEN_TRAIN_PARTITION to one of cpu, gpu"),
        (
            {"runtime_min": 241},
            "training: partition gpu allows 240 min, but 241 min were asked for; lower MUSICGEN_RUNTIME_MIN or take "
            "another partition (MUSICGEN_TRAIN_PARTITION)",
        ),
        ({"nodes": 9}, "training: partition gpu has 8 nodes, but 9 were asked for; lower MUSICGEN_NODES"),
        (
            {"cpus_per_process": 17},
            "training: partition gpu has nodes with 64 CPUs, but 68 (4 processes x 17) on a node were asked for; "
            "lower MUSICGEN_PROCESSES or MUSICGEN_CPUS or take another partition (MUSICGEN_TRAIN_PARTITION)",
        ),
        (
            {"gpus_per_node": 16},
            "training: partition gpu has nodes with 8 GPUs, but 16 on a node were asked for; lower "
            "MUSICGEN_GPUS_PER_NODE or take another partition (MUSICGEN_TRAIN_PARTITION)",
        ),
        (
            {"memory_mb": 300_000},
            "training: partition gpu has nodes with 256000 MB of memory, but 300000 on a node were asked for; lower "
            "MUSICGEN_MEMORY_MB or take another partition (MUSICGEN_TRAIN_PARTITION)",
        ),
        (
            {"nodes": 3, "gpus_per_node": 8},
            "training: partition gpu has 2 nodes with 32 CPUs, 8 GPUs, 100000 MB of memory, but 3 were asked for; "
            "lower MUSICGEN_NODES",
        ),
    ],
)
def test_what_the_partition_can_never_give_is_one_line(changes: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        check_request(replace(ASKED, **changes), PARTITIONS)
    assert str(error.value) == message


def test_the_default_partition_is_taken_and_its_absence_said() -> None:
    with pytest.raises(ValueError, match="partition cpu has nodes with 0 GPUs, but 4"):
        check_request(replace(ASKED, partition=None), PARTITIONS)
    with pytest.raises(ValueError, match="no default partition; set MUSICGEN_TRAIN_PARTITION to one of gpu"):
        check_request(replace(ASKED, partition=None), {"gpu": PARTITIONS["gpu"]})


def test_where_sinfo_cannot_say_all_is_well(play) -> None:
    for script in ("exit 1", "echo something else", "echo 'x|y|z|a|b|c'"):
        play("sinfo", script)
        assert read_partitions() == {}
    check_request(replace(ASKED, partition="nope"), {})


def test_partitions_are_read(play) -> None:
    play(
        "sinfo",
        "printf '%s\\n' 'cpu*|infinite|4|32|64000+|(null)' 'gpu|4:00:00|2|64|256000|gpu:a100:8(S:0-1)' "
        "'gpu|4:00:00|6|64|128000|gpu:4,shard:9'",
    )
    assert read_partitions() == PARTITIONS


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limits(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = (days * 24 + hours) * 60 + minutes
    assert parse_minutes(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == total
    if days == 0:
        assert parse_minutes(f"{hours}:{minutes:02}:{seconds:02}") == total
        assert parse_minutes(f"{minutes}:{seconds:02}") == minutes
    assert parse_minutes("infinite") is None


def test_gpus_of_any_type_are_counted() -> None:
    shown = ["gpu:2", "gpu:a100:4(S:0-1),shard:8", "(null)", "gpu:tesla:1,gpu:kepler:2", "craynetwork:4"]
    assert [count_gpus(gres) for gres in shown] == [2, 4, 0, 3, 0]


def test_accounts_are_checked_where_they_are_known(play) -> None:
    asked = replace(ASKED, account="music")
    play("sacctmgr", "exit 1")
    check_account(asked)
    play("sacctmgr", "echo Music | tr A-Z a-z")
    check_account(asked)
    play("sacctmgr", "printf 'art\\nscience\\n'")
    with pytest.raises(ValueError, match="no account music for this user; set MUSICGEN_ACCOUNT to one of art, science"):
        check_account(asked)
