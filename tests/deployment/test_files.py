"""The files of the deployment agree on every port, host, topic, path and name."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import typing as t

import greeter
import pytest
import yaml
from packaging.requirements import Requirement

from statefun_flask.config import Settings
from statefun_flask.core.registry import functions_of
from statefun_flask.flink import configuration
from statefun_flask.flink.releases import RELEASES
from statefun_flask.transport.waitress import DRAIN

HERE = pathlib.Path(greeter.__file__).parent
ROOT = HERE.parents[1]
Yaml: t.TypeAlias = dict[str, t.Any]

COMPOSE: Yaml = yaml.safe_load((HERE / "docker-compose.yaml").read_text())
SERVICES: Yaml = COMPOSE["services"]
MANIFESTS: list[Yaml] = [
    manifest
    for path in sorted((HERE / "k8s").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
MODULE: list[Yaml] = list(yaml.safe_load_all((HERE / "deployed.yaml").read_text()))
ENDPOINT, INGRESS, EGRESS = (document["spec"] for document in MODULE)
FLINK: dict[str, t.Any] = yaml.safe_load((HERE / "flink-conf.yaml").read_text())
NGINX = (HERE / "nginx.conf").read_text()


class Image:
    """The contents of a Dockerfile that other files rely on."""

    def __init__(self, name: str) -> None:
        self.text = (HERE / name).read_text().replace("\\\n", " ")
        self.environment = dict(
            variable.split("=", 1) for line in self.lines("ENV") for variable in line.split()
        )

    def lines(self, instruction: str) -> list[str]:
        """Return the arguments of all lines with an instruction."""
        return re.findall(rf"^ *{instruction} +(.*)$", self.text, re.M)

    def command(self, instruction: str = "CMD") -> list[str]:
        """Return a command that is in exec form."""
        command = json.loads(self.lines(instruction)[-1])
        assert isinstance(command, list)
        return command

    @property
    def drain(self) -> int:
        command = self.command()
        return int(command[command.index("--drain-seconds") + 1])


WORKER, DATAGEN, RUNTIME = map(Image, ("Dockerfile", "datagen.Dockerfile", "runtime.Dockerfile"))
PORT = int(WORKER.environment["FLASK_STATEFUN_SERVE_PORT"])


def manifest(kind: str, name: str) -> Yaml:
    (found,) = [
        each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return t.cast("Yaml", found["spec"])


def container(name: str) -> Yaml:
    (only,) = manifest("Deployment", name)["template"]["spec"]["containers"]
    return t.cast("Yaml", only)


def environment(of: Yaml) -> dict[str, str]:
    return {each["name"]: each["value"] for each in of.get("env", ())}


def number(of: Yaml, port: str | int) -> int:
    """Return a container's port by its number or name."""
    if isinstance(port, int):
        return port
    (found,) = [each["containerPort"] for each in of["ports"] if each["name"] == port]
    return int(found)


def directive(name: str) -> str:
    (found,) = re.findall(rf"^\s*{name}\s+(.*?);$", NGINX, re.M)
    return t.cast("str", found)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


# -- the module ------------------------------------------------------------------------------------


def test_the_deployed_module_is_the_examples_with_other_hosts() -> None:
    example = (HERE / "module.yaml").read_text()
    moved = example.replace("http://127.0.0.1:5000", f"http://functions:{PORT}").replace(
        "127.0.0.1:9092", "kafka:9092"
    )
    assert list(yaml.safe_load_all(moved)) == MODULE


def test_the_module_has_no_findings() -> None:
    runner = greeter.app.test_cli_runner()
    checked = runner.invoke(args=["statefun", "check", str(HERE / "deployed.yaml")])
    assert checked.exit_code == 0, checked.output


def test_the_module_calls_the_functions_of_the_app() -> None:
    registry = greeter.app.statefun.registry
    pattern = re.compile(ENDPOINT["functions"].replace("*", "[^/]+"))
    assert list(registry)
    assert all(map(pattern.fullmatch, registry))
    targets = {target for topic in INGRESS["topics"] for target in topic["targets"]}
    assert targets <= set(registry)
    egresses = {
        name
        for typename in registry
        for each in functions_of(registry, typename)
        for name in each.egresses
    }
    assert egresses == {EGRESS["id"]}


# -- hosts, ports and paths ------------------------------------------------------------------------


def test_the_url_of_the_functions_leads_to_the_load_balancer() -> None:
    assert ENDPOINT["urlPathTemplate"] == f"http://functions:{directive('listen')}{Settings().url}"
    assert "./nginx.conf:/etc/nginx/nginx.conf:ro" in SERVICES["functions"]["volumes"]
    assert directive("proxy_pass") == "http://workers"
    assert f"location {Settings().url} {{" in NGINX


def test_the_load_balancer_knows_all_workers() -> None:
    workers = {
        name for name, service in SERVICES.items() if service.get("image") == "greeter-worker"
    }
    servers = re.findall(r"^\s*server (\S+):(\d+) ", NGINX, re.M)
    assert len(workers) == 2
    assert set(servers) == {(name, str(PORT)) for name in workers}
    assert set(SERVICES["functions"]["depends_on"]) == workers


def test_the_worker_serves_at_its_port() -> None:
    assert WORKER.lines("EXPOSE") == [str(PORT)]
    assert WORKER.command()[:3] == ["flask", "statefun", "serve"]
    assert WORKER.environment["FLASK_APP"] == pathlib.Path(greeter.__file__).stem
    (check,) = WORKER.lines(r"HEALTHCHECK.*?CMD")
    assert f"{Settings().url}/health'" in json.loads(check)[-1]


def test_kubernetes_finds_the_workers() -> None:
    service = manifest("Service", "functions")
    deployment = manifest("Deployment", "functions")
    assert service["selector"] == deployment["template"]["metadata"]["labels"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert f"http://functions:{service['ports'][0]['port']}/" in ENDPOINT["urlPathTemplate"]
    assert number(container("functions"), service["ports"][0]["targetPort"]) == PORT


def test_the_probes_ask_the_paths_of_the_worker() -> None:
    worker = container("functions")
    for probe, path in (
        ("livenessProbe", "live"),
        ("startupProbe", "live"),
        ("readinessProbe", "ready"),
    ):
        asked = worker[probe]["httpGet"]
        assert asked["path"] == f"{Settings().url}/health/{path}"
        assert number(worker, asked["port"]) == PORT


def test_all_services_call_the_broker_by_its_name() -> None:
    address = INGRESS["address"]
    assert address == EGRESS["address"] == "kafka:9092"
    assert DATAGEN.environment["KAFKA_BOOTSTRAP"] == address
    assert SERVICES["datagen"]["environment"]["KAFKA_BOOTSTRAP"] == address
    assert environment(container("datagen"))["KAFKA_BOOTSTRAP"] == address
    listener = f"PLAINTEXT://{address}"
    compose = SERVICES["kafka"]["environment"]
    assert compose["KAFKA_ADVERTISED_LISTENERS"] == listener
    assert {key: str(value) for key, value in compose.items()} == environment(container("kafka"))
    (port,) = manifest("Service", "kafka")["ports"]
    assert port["port"] == number(container("kafka"), port["targetPort"]) == 9092
    assert manifest("Service", "kafka")["selector"] == {"app": "kafka"}


def test_the_broker_is_set_up_as_the_one_of_the_tests() -> None:
    """The broker has all settings of the broker of the e2e tests."""
    told = configuration.kafka(pathlib.Path("/data"), 9092, 9093)
    compose = {
        key.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for key, value in SERVICES["kafka"]["environment"].items()
    }
    # The image has its own folders. The other defaults are for a larger cluster.
    own = {key for key in told if key.endswith(".num.partitions") or "cleanup" in key}
    assert compose.keys() == told.keys() - own - {"log.dirs"}
    for key in compose.keys() - {"listeners", "advertised.listeners", "controller.quorum.voters"}:
        assert compose[key] == told[key], key
    timeout = EGRESS["deliverySemantic"]["transactionTimeout"]
    assert int(timeout.removesuffix("min")) * 60_000 <= int(compose["transaction.max.timeout.ms"])


def test_the_topics_are_made_that_are_used() -> None:
    datagen = (HERE / "datagen.py").read_text()
    ingress = [topic["topic"] for topic in INGRESS["topics"]]
    source = pathlib.Path(greeter.__file__).read_text()
    egress = re.findall(r'kafka_record\("(\w+)"', source)
    topics = [*ingress, *egress]
    assert len(topics) == 2
    job = manifest("Job", "topics")["template"]["spec"]["containers"][0]
    for command in (SERVICES["topics"]["command"], job["command"]):
        assert f"for topic in {' '.join(topics)};" in command[-1]
        assert f"--bootstrap-server {INGRESS['address']} " in command[-1]
    assert f'produce("{ingress[0]}"' in datagen
    assert f'subscribe(["{egress[0]}"]' in datagen


def test_the_runtime_finds_its_master() -> None:
    for name, role in (("master", "master"), ("taskmanager", "worker")):
        assert SERVICES[name]["environment"] == {"ROLE": role, "MASTER_HOST": "master"}
        assert SERVICES[name]["volumes"] == ["checkpoints:/checkpoint-dir"]
    for role in ("master", "worker"):
        one = container(f"statefun-{role}")
        assert environment(one) == {"ROLE": role, "MASTER_HOST": "statefun-master"}
        (mounted,) = one["volumeMounts"]
        assert mounted["mountPath"] == "/checkpoint-dir"
    assert FLINK["state.checkpoints.dir"] == "file:///checkpoint-dir"
    service = manifest("Service", "statefun-master")
    labels = manifest("Deployment", "statefun-master")["template"]["metadata"]["labels"]
    assert service["selector"] == labels
    keys = {"rpc": "jobmanager.rpc.port", "blob": "blob.server.port", "web": "rest.port"}
    for port in service["ports"]:
        assert port["port"] == number(container("statefun-master"), port["targetPort"])
        assert port["port"] == FLINK[keys[port["name"]]]
    assert SERVICES["master"]["ports"] == [f"127.0.0.1:{FLINK['rest.port']}:{FLINK['rest.port']}"]


def test_flink_is_set_up_as_the_engine_of_the_tests() -> None:
    """The configuration of the e2e tests, which the runtime's image must contain."""
    engine = RELEASES["3.3.0"]
    for key in (
        "classloader.parent-first-patterns.additional",
        "restart-strategy",
        "restart-strategy.fixed-delay.attempts",
        "state.backend",
        "state.backend.incremental",
        "state.backend.rocksdb.timer-service.factory",
        *dict(engine.settings),
    ):
        assert key in FLINK, key
    for key, value in dict(engine.settings).items():
        assert str(FLINK[key]).lower() == value
    assert "execution.checkpointing.interval" in FLINK
    assert RUNTIME.lines("FROM") == ["apache/flink-statefun:3.3.0"]


# -- limits and times ------------------------------------------------------------------------------


def test_the_load_balancer_accepts_the_largest_batch() -> None:
    size = directive("client_max_body_size")
    assert int(size.removesuffix("m")) * 1024 * 1024 == Settings().max_request_bytes


def test_the_load_balancer_waits_longer_than_the_runtime_does() -> None:
    assert ENDPOINT.keys() == {"functions", "urlPathTemplate"}, "other times than the defaults"
    call = 120
    assert seconds(directive("proxy_read_timeout")) > call
    assert seconds(directive("proxy_send_timeout")) > call


def test_the_load_balancer_repeats_what_a_worker_refused() -> None:
    repeated = set(directive("proxy_next_upstream").split())
    assert repeated == {"error", "timeout", "http_502", "http_503", "non_idempotent"}
    assert directive("proxy_http_version") == "1.1"
    assert directive("proxy_set_header") == 'Connection ""'
    assert int(directive("keepalive")) > 0


def test_all_time_limits_allow_a_worker_to_drain() -> None:
    assert WORKER.drain == DRAIN
    for name in ("worker-1", "worker-2"):
        assert seconds(SERVICES[name]["stop_grace_period"]) > WORKER.drain
    pod = manifest("Deployment", "functions")["template"]["spec"]
    notice = container("functions")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > notice + WORKER.drain


# -- the images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [WORKER, DATAGEN], ids=["worker", "datagen"])
def test_the_images_are_slim_locked_and_unprivileged(image: Image) -> None:
    assert {line.split()[0] for line in image.lines("FROM")} == {"python:3.11-slim-bookworm"}
    user, _, group = image.lines("USER")[-1].partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    assert image.command()
    (check,) = image.lines(r"HEALTHCHECK.*?CMD")
    assert json.loads(check)[0] == "python"
    for line in image.lines("RUN"):
        for install in re.findall(r"pip install (.*?)(?:&&|$)", line):
            assert "--require-hashes" in install or "--no-index" in install


@pytest.mark.parametrize("name", ["functions", "datagen"])
def test_kubernetes_runs_the_images_as_the_user_they_have(name: str) -> None:
    image = WORKER if name == "functions" else DATAGEN
    context = manifest("Deployment", name)["template"]["spec"]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert str(context["runAsUser"]) == image.lines("USER")[-1].partition(":")[0]


def test_compose_and_kubernetes_run_the_same_images() -> None:
    compose = {service["image"] for service in SERVICES.values()}
    kubernetes = {
        container["image"]
        for each in MANIFESTS
        if "template" in each["spec"]
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert compose - kubernetes == {"nginx:1.28"}
    assert kubernetes <= compose
    for service in SERVICES.values():
        if "build" in service:
            assert (HERE / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_files_that_the_images_copy_exist_and_are_not_ignored() -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    copied = [
        source
        for image in (WORKER, DATAGEN, RUNTIME)
        for line in image.lines("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def pinned(name: str) -> dict[str, str]:
    text = (HERE / "requirements" / name).read_text()
    found = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", text, re.M))
    assert text.count("--hash=sha256:") >= len(found) > 0
    return found


def test_the_locked_versions_are_those_that_the_package_asks_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = setup["options"]["install_requires"]
    kafka = setup["options.extras_require"]["kafka"].strip()
    worker, datagen = pinned("worker.txt"), pinned("datagen.txt")
    for line in asked.split():
        requirement = Requirement(line)
        assert worker[requirement.name.lower()] in requirement.specifier, line
    assert datagen["confluent-kafka"] in Requirement(kafka).specifier
    assert datagen["protobuf"] == worker["protobuf"]
    (build,) = re.findall(r'requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text())
    assert pinned("build.txt")["setuptools"] in Requirement(build).specifier
