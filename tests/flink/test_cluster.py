"""A cluster that does not run."""

from __future__ import annotations

import pytest

from statefun_flask.flink import Cluster
from statefun_flask.flink import FlinkError


def test_a_cluster_that_was_not_started_can_be_stopped() -> None:
    cluster = Cluster("module.yaml", kafka=True)
    cluster.stop()
    cluster.stop()
    cluster.check()
    assert cluster.processes() == []
    assert cluster.logs() == {}


def test_a_cluster_that_was_not_started_refuses_to_work() -> None:
    cluster = Cluster()
    module = "kind: io.statefun.kafka.v1/egress\nspec: {id: a/b, address: h:1}\n"
    with pytest.raises(FlinkError, match=r"does not run. Call start\(\)"):
        _ = cluster.rest_url
    with pytest.raises(FlinkError, match=r"does not run. Call start\(\)"):
        cluster.submit(module)
    with pytest.raises(FlinkError, match=r"Call submit\(module\) first"):
        cluster.savepoint()
