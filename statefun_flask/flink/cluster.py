"""A JobManager and TaskManagers that run StateFun jobs, with a Kafka broker if wanted."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime
import os
import pathlib
import re
import shutil
import tempfile
import types
import typing as t

from ..module_yaml import KafkaIngress
from ..module_yaml import Module
from ..module_yaml import ModuleError
from ..module_yaml import read
from ..module_yaml import readdress
from ..module_yaml import ReadResult
from . import configuration
from . import jars
from . import java
from . import ports
from . import reachable
from . import releases
from .errors import FlinkError
from .errors import StartFailedError
from .explain import cause
from .job import Job
from .kafka import Kafka
from .process import log_file
from .process import Process
from .process import wait_until
from .rest import Rest

_JOBMANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKMANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_CLIENT = "org.apache.flink.client.cli.CliFrontend"
#: The exit status of a Flink process in which a thread failed. On a busy machine it happens during
#: the start, when one of Flink's own deadlines passes.
_FATAL = 239
_JOB = "org.apache.flink.statefun.flink.core.StatefulFunctionsJob"


class Cluster:
    """Flink with StateFun, on free ports of the loopback interface.

    As a context manager it starts Flink, submits the module and waits until the job runs and has a
    checkpoint; at the end it stops everything and removes its files::

        with Cluster("module.yaml", kafka=True, endpoint="http://127.0.0.1:5000") as cluster:
            produce(cluster.kafka.bootstrap)
            cluster.kill_taskmanager()
            cluster.start_taskmanager()

    Nothing outlives this Python process, even if it is killed.

    :param module: The path of a module.yaml or its text. Without one, :meth:`submit` jobs later.
    :param release: The version of StateFun.
    :param kafka: A broker, or True for a new one. It replaces the Kafka addresses in the module,
        and the topics that ingresses read are created there. A broker that does not run yet is
        started and stopped with the cluster.
    :param endpoint: ``http://host:port``, which replaces that part of every function's URL.
    :param taskmanagers: The number of TaskManagers; each has one slot, and jobs have this
        parallelism.
    :param checkpoint_interval: The time between checkpoints.
    :param restart_delay: The time between a job's failure and its restart.
    :param settings: Further lines of Flink's configuration, by key.
    :param report: Called with lines of text about the progress of the start.
    """

    def __init__(
        self,
        module: str | os.PathLike[str] | None = None,
        *,
        release: str = "3.3.0",
        kafka: bool | Kafka = False,
        endpoint: str | None = None,
        taskmanagers: int = 1,
        checkpoint_interval: datetime.timedelta = datetime.timedelta(seconds=2),
        restart_delay: datetime.timedelta = datetime.timedelta(seconds=1),
        settings: cabc.Mapping[str, str] | None = None,
        report: cabc.Callable[[str], None] = lambda line: None,
    ) -> None:
        self.release = releases.release(release)
        self.module = module
        self.endpoint = endpoint
        self.jobs: list[Job] = []
        self._modules: dict[str, Module] = {}
        self._kafka = Kafka(report=report) if kafka is True else kafka or None
        self._owns_kafka = False
        self._count = taskmanagers
        self._checkpoint_interval = checkpoint_interval
        self._restart_delay = restart_delay
        self._settings = dict(settings or {})
        self._report = report
        self._started = 0
        self._submitted = 0
        self._prepared: ReadResult | None = None
        self._java: str | None = None
        self.folder: pathlib.Path | None = None
        self.jobmanager: Process | None = None
        self.taskmanagers: list[Process] = []
        self._rest: Rest | None = None

    @property
    def kafka(self) -> Kafka:
        """The broker.

        :raises FlinkError: The cluster was made without one.
        """
        if self._kafka is None:
            raise FlinkError(
                "This cluster has no Kafka. Make it with Cluster(…, kafka=True) to have one."
            )
        return self._kafka

    @property
    def rest_url(self) -> str:
        """The address of Flink's REST interface and web page.

        :raises FlinkError: The cluster does not run.
        """
        return self.rest.url

    @property
    def rest(self) -> Rest:
        """Flink's REST interface.

        :raises FlinkError: The cluster does not run.
        """
        if self._rest is None:
            raise _not_running()
        return self._rest

    @property
    def job(self) -> Job:
        """The job that was submitted last.

        :raises FlinkError: No job was submitted.
        """
        if not self.jobs:
            raise FlinkError("No job was submitted. Call submit(module) first.")
        return self.jobs[-1]

    def __enter__(self) -> t.Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.stop()

    def prepare(self) -> None:
        """Check everything that can be checked before a process starts; :meth:`start` does so too.

        These are Java, the jars or Maven to fetch them, the module, and the brokers that it names.

        :raises FlinkError: Something is missing.
        :raises ModuleError: The module has errors.
        """
        if os.name != "posix":
            raise FlinkError("Flink is started on Linux and macOS only. On Windows, use WSL.")
        java_path = java.java(self._report)
        jars.require(self.release.bundle)
        if self._kafka is not None:
            self._kafka.prepare()
        if self.module is not None:
            self._prepared = self._read(self.module)
            if self._kafka is None:
                reachable.require_kafka(self._prepared.module)
        self._java = java_path

    def _read(self, source: str | os.PathLike[str]) -> ReadResult:
        result = read(source)
        self.release.check_format(result.module)
        if result.errors:
            raise ModuleError(result.errors)
        return result

    def start(self) -> None:
        """Start Flink, and return when the module's job runs and has a checkpoint.

        :raises FlinkError: Something is missing, or a process or the job ended.
        :raises ModuleError: The module has errors.
        """
        if self._java is None:
            self.prepare()
        self._jars = jars.fetch(self.release.bundle, self._report)
        if self._kafka is not None:
            jars.fetch(releases.KAFKA, self._report)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="statefun-flink-"))
        self.folder = folder
        try:
            (folder / "tmp").mkdir()
            (folder / "log4j.properties").write_text(configuration.LOG4J)
            # Flink and Kafka boot at the same time.
            self._boot(folder)
            if self._kafka is not None and not self._kafka.running:
                self._kafka.start()
                self._owns_kafka = True
            ports.retrying(lambda: self._wait_ready(folder))
            if self._prepared is not None:
                job = self._submit(self._prepared)
                job.wait_running()
                job.wait_checkpoint()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything and remove all files. Jobs end without being cancelled.

        A cluster that does not run stays as it is.
        """
        self._shut_down()
        if self._owns_kafka:
            self.kafka.stop()
            self._owns_kafka = False
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        self._rest = None

    def submit(
        self,
        module: str | os.PathLike[str],
        *,
        check: bool = True,
        savepoint: str | None = None,
        arguments: cabc.Mapping[str, str] | None = None,
    ) -> Job:
        """Start a job, and return it before it runs.

        A job needs one slot of each TaskManager, so cancel the previous job or add TaskManagers.

        :param module: The path of a module.yaml or its text.
        :param check: False submits a module that has errors, to see what StateFun says about it.
        :param savepoint: The path that :meth:`~Job.savepoint` of an earlier job returned.
        :param arguments: The job's command line, ``--key value`` each.
        :raises ModuleError: The module has errors.
        :raises FlinkError: StateFun refuses the module, or the cluster does not run.
        """
        return self._submit(self._read(module) if check else read(module), savepoint, arguments)

    def _submit(
        self,
        source: ReadResult,
        savepoint: str | None = None,
        arguments: cabc.Mapping[str, str] | None = None,
    ) -> Job:
        if self.folder is None:
            raise _not_running()
        module = source.module
        if self._kafka is not None:
            self._kafka.create_topics(_topics(module))
        self._submitted += 1
        folder = self.folder / f"module-{self._submitted}"
        folder.mkdir()
        broker = self._kafka.bootstrap if self._kafka else None
        text = readdress(source, kafka=broker, endpoint=self.endpoint)
        (folder / "module.yaml").write_text(text, encoding="utf-8")

        command = ["run", "-d", "-C", f"{folder.as_uri()}/", "-c", _JOB]
        command += ["-s", savepoint] if savepoint else []
        command += [str(self.release.core(self._jars))]
        for key, value in (arguments or {}).items():
            command += [f"--{key}", value]
        client = self._run(f"client {self._submitted}", configuration.CLIENT, _CLIENT, *command)
        status = client.wait()
        said = re.search(r"JobID ([0-9a-f]{32})", client.output())
        if status != 0 or said is None:
            why = cause(_trace(client.output()))
            raise FlinkError(
                f"StateFun refuses '{module.file}': {why}. Correct the file, and start again."
            )
        self.jobs.append(Job(self.rest, said.group(1), self.processes))
        self._modules[self.job.id] = read(text).module
        return self.job

    def url(self, function: str) -> str | None:
        """Return the URL at which the last job calls a function, such as ``example/greeter``."""
        endpoint = self._modules[self.job.id].endpoint_for(function)
        return None if endpoint is None else endpoint.url_for(function)

    def savepoint(self, folder: pathlib.Path | None = None) -> str:
        """Write a savepoint of the last job, see :meth:`Job.savepoint`."""
        return self.job.savepoint(folder)

    def kill_taskmanager(self) -> None:
        """Kill the TaskManager that has run longest, as a crash of its machine would."""
        if not self.taskmanagers:
            raise FlinkError("No TaskManager runs. Call start_taskmanager() first.")
        self.taskmanagers.pop(0).kill()

    def start_taskmanager(self) -> None:
        """Start one more TaskManager, and return when the JobManager knows it."""
        known = self._registered()  # A killed one stays registered for a while.
        self._start_taskmanager()
        wait_until(
            lambda: self._registered() - known,
            f"TaskManager {self._started} registers",
            self.processes(),
        )

    def processes(self) -> list[Process]:
        """Return the processes that run, the JobManager first."""
        return ([self.jobmanager] if self.jobmanager else []) + self.taskmanagers

    def logs(self) -> dict[str, str]:
        """Return the output of the processes by name, including those that were killed."""
        if self.folder is None:
            return {}
        return {
            path.stem: path.read_text(errors="replace")
            for path in self.folder.glob("*manager*.log")
        }

    def check(self) -> None:
        """Raise if a process has ended that should run.

        :raises FlinkError: A process has ended; the message has the end of its log.
        """
        for process in self.processes():
            process.check()
        if self._kafka is not None:
            self._kafka.check()

    def _boot(self, folder: pathlib.Path) -> None:
        """Start Flink's processes, without waiting for them."""
        rpc_port, rest_port = ports.free(2)
        settings = configuration.flink(
            self.release,
            folder,
            rpc_port,
            rest_port,
            self._count,
            self._checkpoint_interval,
            self._restart_delay,
            self._settings,
        )
        (folder / "flink-conf.yaml").write_text(configuration.text(settings))
        self._rest = Rest(f"http://{ports.HOST}:{rest_port}")
        self.jobmanager = self._run(
            "JobManager", configuration.JOBMANAGER, _JOBMANAGER, "--configDir", str(folder)
        )
        for _ in range(self._count):
            self._start_taskmanager()

    def _wait_ready(self, folder: pathlib.Path) -> None:
        if not self.processes():
            self._boot(folder)
        try:
            wait_until(
                lambda: len(self._registered()) >= self._count,
                "the TaskManagers have registered",
                self.processes(),
            )
        except FlinkError as exc:
            is_fatal = any(each.status == _FATAL for each in self.processes())
            self._shut_down()
            if is_fatal:
                raise StartFailedError(str(exc)) from exc
            raise

    def _shut_down(self) -> None:
        # An orderly end would take seconds, and nothing here needs it.
        for process in self.processes():
            process.kill()
        self.jobmanager = None
        self.taskmanagers = []

    def _start_taskmanager(self) -> None:
        self._started += 1
        process = self._run(
            f"TaskManager {self._started}",
            configuration.TASKMANAGER,
            _TASKMANAGER,
            "--configDir",
            str(self.folder),
            f"-Dtaskmanager.resource-id=taskmanager-{self._started}",
        )
        self.taskmanagers.append(process)

    def _registered(self) -> set[str]:
        """Return the ids of the TaskManagers that the JobManager knows."""
        with contextlib.suppress(OSError):
            return {str(each["id"]) for each in self.rest.get("/taskmanagers")["taskmanagers"]}
        return set()

    def _run(self, name: str, memory: tuple[str, ...], main: str, *arguments: str) -> Process:
        if self.folder is None or self._java is None:
            raise _not_running()
        log = log_file(name, self.folder)
        # Flink's web page shows the file of this property.
        jvm = configuration.jvm(self.folder, f"-Dlog.file={log}", *memory)
        command = [self._java, *jvm, "-cp", f"{self._jars}/*", main, *arguments]
        environ = {**os.environ, "FLINK_CONF_DIR": str(self.folder)}
        return Process(name, command, self.folder, environ)


def _not_running() -> FlinkError:
    return FlinkError("The cluster does not run. Call start(), or use it as a context manager.")


def _topics(module: Module) -> list[str]:
    """Return the Kafka topics that ingresses read, in order, each once."""
    names = [
        topic.topic
        for ingress in module.ingresses
        if isinstance(ingress, KafkaIngress)
        for topic in ingress.topics
    ]
    return list(dict.fromkeys(names))


def _trace(log: str) -> str:
    """Return the stack trace in the client's log, which follows a line of dashes."""
    return log.rpartition("-----\n")[2]
