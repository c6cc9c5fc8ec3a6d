from __future__ import annotations

import datetime
import pathlib

import pytest
import yaml

from statefun_flask.flink import configuration
from statefun_flask.flink import FlinkError
from statefun_flask.flink import releases

FOLDER = pathlib.Path("/somewhere")


def settings(version: str = "3.3.0", **more: str) -> dict[str, str]:
    text = configuration.text(
        configuration.flink(
            releases.release(version),
            FOLDER,
            rpc_port=6123,
            rest_port=8081,
            parallelism=2,
            checkpoint_interval=datetime.timedelta(milliseconds=500),
            restart_delay=datetime.timedelta(seconds=1),
            more=more,
        )
    )
    loaded = yaml.load(text, yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


def test_every_process_listens_on_the_loopback_interface_only() -> None:
    chosen = settings()
    for key in ("jobmanager.bind-host", "taskmanager.bind-host", "rest.bind-address"):
        assert chosen[key] == "127.0.0.1"
    assert chosen["jobmanager.rpc.port"] == "6123"
    assert chosen["rest.port"] == "8081"


def test_durations_are_written_with_their_unit() -> None:
    chosen = settings()
    assert chosen["execution.checkpointing.interval"] == "500 ms"
    assert chosen["restart-strategy.fixed-delay.delay"] == "1000 ms"


def test_all_files_stay_in_the_folder() -> None:
    paths = [value for value in settings().values() if "/" in value and "apache" not in value]
    assert paths
    assert all(value.removeprefix("file://").startswith("/somewhere/") for value in paths)
    assert "-Djava.io.tmpdir=/somewhere/tmp" in configuration.jvm(FOLDER)


def test_only_todays_engine_gets_the_options_that_the_old_one_refuses() -> None:
    new = ("pipeline.auto-generate-uids", "execution.savepoint.ignore-unclaimed-state")
    assert [settings()[key] for key in new] == ["false", "true"]
    assert not set(new) & set(settings("2.2.2"))


def test_the_users_settings_win() -> None:
    assert settings()["parallelism.default"] == "2"
    assert settings(**{"parallelism.default": "4"})["parallelism.default"] == "4"


def test_the_memory_of_a_taskmanager_fits_its_virtual_machine() -> None:
    chosen = settings()

    def megabytes(*parts: str) -> int:
        return sum(int(chosen[f"taskmanager.memory.{part}"].removesuffix("m")) for part in parts)

    heap = megabytes("framework.heap.size", "task.heap.size")
    direct = megabytes("framework.off-heap.size", "task.off-heap.size", "network.max")
    assert f"-Xmx{heap}m" in configuration.TASKMANAGER
    assert f"-XX:MaxDirectMemorySize={direct}m" in configuration.TASKMANAGER


def test_the_broker_advertises_the_address_it_listens_on() -> None:
    chosen = configuration.kafka(FOLDER, 9092, 9093)
    assert chosen["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert chosen["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"


def test_an_unknown_release_names_the_known_ones() -> None:
    with pytest.raises(FlinkError) as info:
        releases.release("9.9.9")
    assert str(info.value) == "StateFun 9.9.9 is not supported. Choose one of 3.3.0, 2.2.2."
