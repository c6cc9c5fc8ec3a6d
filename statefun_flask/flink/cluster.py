"""A JobManager and TaskManagers that run StateFun jobs, and Kafka beside them when asked."""

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

from . import configuration
from . import engines
from . import jars
from . import java
from . import ports
from .errors import EngineError
from .errors import StartFailed
from .failures import cause
from .job import Job
from .kafka import Kafka
from .module import Module
from .process import log_file
from .process import Process
from .process import wait_until
from .rest import Rest

_JOBMANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKMANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_CLIENT = "org.apache.flink.client.cli.CliFrontend"
#: The exit status of Flink's processes when one of their threads failed. In their start it happens
#: on a machine that is too busy for their own deadlines.
_FATAL = 239
_JOB = "org.apache.flink.statefun.flink.core.StatefulFunctionsJob"


class Cluster:
    """The real engine, on free ports of the loopback interface.

    As a context manager it starts everything, submits the module and waits until the job runs and
    has a checkpoint; at the end it stops everything and removes its files::

        with Cluster("module.yaml", kafka=True, endpoint="http://127.0.0.1:5000") as cluster:
            produce(cluster.kafka.bootstrap)
            cluster.kill_taskmanager()
            cluster.start_taskmanager()

    Nothing outlives this Python process, even if it is killed.

    :param module: The path of a module.yaml or its text. Without one, :meth:`submit` jobs later.
    :param engine: The version of StateFun.
    :param kafka: A broker, or True for a new one. It replaces the Kafka addresses in the module,
        and the topics that ingresses read are made there. One that does not run yet is started
        and stopped with the cluster.
    :param endpoint: ``http://host:port`` that replaces that of every function's URL.
    :param taskmanagers: How many; each has one slot, and jobs run with as many in parallel.
    :param checkpoint_interval: The time between checkpoints.
    :param restart_delay: The time between a job's failure and its restart.
    :param settings: More of Flink's configuration, by key.
    :param report: Is called with a line of text for whoever waits.
    """

    def __init__(
        self,
        module: str | os.PathLike[str] | None = None,
        *,
        engine: str = "3.3.0",
        kafka: bool | Kafka = False,
        endpoint: str | None = None,
        taskmanagers: int = 1,
        checkpoint_interval: datetime.timedelta = datetime.timedelta(seconds=2),
        restart_delay: datetime.timedelta = datetime.timedelta(seconds=1),
        settings: cabc.Mapping[str, str] | None = None,
        report: cabc.Callable[[str], None] = lambda line: None,
    ) -> None:
        self.engine = engines.engine(engine)
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

    @property
    def kafka(self) -> Kafka:
        """The broker.

        :raises EngineError: The cluster was made without one.
        """
        if self._kafka is None:
            raise EngineError(
                "This cluster has no Kafka. Make it with Cluster(…, kafka=True) to have one."
            )
        return self._kafka

    @property
    def rest_url(self) -> str:
        """The address of Flink's REST interface and web page."""
        return self.rest.url

    @property
    def job(self) -> Job:
        """The job that was submitted last.

        :raises EngineError: None was.
        """
        if not self.jobs:
            raise EngineError("No job was submitted. Call submit(module) first.")
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

    def start(self) -> None:
        """Start everything, and return when the module's job runs and has a checkpoint.

        :raises EngineError: Something is missing, or a process or the job ended.
        """
        if os.name != "posix":
            raise EngineError(
                "The engine runs on Linux and macOS only. On Windows, use it under WSL."
            )
        self._java = java.java()
        self._jars = jars.fetch(self.engine.bundle, self._report)
        if self._kafka is not None:
            jars.fetch(engines.KAFKA, self._report)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="statefun-flink-"))
        self.jobmanager: Process | None = None
        self.taskmanagers: list[Process] = []
        try:
            (self.folder / "tmp").mkdir()
            (self.folder / "log4j.properties").write_text(configuration.LOG4J)
            # Flink boots while Kafka does.
            self._boot()
            if self._kafka is not None and not self._kafka.running:
                self._kafka.start()
                self._owns_kafka = True
            ports.retrying(self._wait_ready)
            if self.module is not None:
                job = self.submit(self.module)
                job.wait_running()
                job.wait_checkpoint()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything and remove all files. Jobs are not cancelled first: they just end."""
        self._shut_down()
        if self._owns_kafka:
            self.kafka.stop()
            self._owns_kafka = False
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(
        self,
        module: str | os.PathLike[str],
        *,
        savepoint: str | None = None,
        arguments: cabc.Mapping[str, str] | None = None,
    ) -> Job:
        """Start a job, and return it before it runs.

        One slot is needed per TaskManager, so cancel the job before or add TaskManagers.

        :param module: The path of a module.yaml or its text.
        :param savepoint: Where :meth:`~Job.savepoint` of an earlier job put its state.
        :param arguments: The job's command line, ``--key value`` each.
        :raises EngineError: StateFun refuses the module.
        """
        parsed = Module(module)
        parsed.check(self.engine)
        if self._kafka is not None:
            self._kafka.create_topics(parsed.topics)
        self._submitted += 1
        folder = self.folder / f"module-{self._submitted}"
        folder.mkdir()
        adapted = parsed.adapted(self._kafka.bootstrap if self._kafka else None, self.endpoint)
        (folder / "module.yaml").write_text(adapted)

        command = ["run", "-d", "-C", f"{folder.as_uri()}/", "-c", _JOB]
        command += ["-s", savepoint] if savepoint else []
        command += [str(self.engine.core(self._jars))]
        for key, value in (arguments or {}).items():
            command += [f"--{key}", value]
        client = self._run(f"client {self._submitted}", configuration.CLIENT, _CLIENT, *command)
        status = client.wait()
        said = re.search(r"JobID ([0-9a-f]{32})", client.output())
        if status != 0 or said is None:
            why = cause(_trace(client.output()))
            raise EngineError(
                f"StateFun refuses '{parsed.name}': {why}. Correct it, and start again."
            )
        self.jobs.append(Job(self.rest, said.group(1), self.processes))
        self._modules[self.job.id] = Module(adapted)
        return self.job

    def url(self, function: str) -> str | None:
        """Return where the last job calls a function, such as ``example/greeter``."""
        return self._modules[self.job.id].url(function)

    def savepoint(self, folder: pathlib.Path | None = None) -> str:
        """Write a savepoint of the last job, see :meth:`Job.savepoint`."""
        return self.job.savepoint(folder)

    def kill_taskmanager(self) -> None:
        """Kill the TaskManager that runs longest, as a crash of its machine would."""
        if not self.taskmanagers:
            raise EngineError("No TaskManager runs. Call start_taskmanager() first.")
        self.taskmanagers.pop(0).kill()

    def start_taskmanager(self) -> None:
        """Start one more TaskManager, and return when the JobManager knows it."""
        known = self._registered()  # which a killed one is for a while
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
        """Return what the processes wrote, by name, including those that were killed."""
        return {
            path.stem: path.read_text(errors="replace")
            for path in self.folder.glob("*manager*.log")
        }

    def check(self) -> None:
        """Raise if a process has ended that should run.

        :raises EngineError: One has; the message holds the end of its log.
        """
        for process in self.processes():
            process.check()
        if self._kafka is not None:
            self._kafka.check()

    def _boot(self) -> None:
        """Start Flink's processes, without waiting for them."""
        rpc_port, rest_port = ports.free(2)
        settings = configuration.flink(
            self.engine,
            self.folder,
            rpc_port,
            rest_port,
            self._count,
            self._checkpoint_interval,
            self._restart_delay,
            self._settings,
        )
        (self.folder / "flink-conf.yaml").write_text(configuration.text(settings))
        self.rest = Rest(f"http://{ports.HOST}:{rest_port}")
        self.jobmanager = self._run(
            "JobManager", configuration.JOBMANAGER, _JOBMANAGER, "--configDir", str(self.folder)
        )
        for _ in range(self._count):
            self._start_taskmanager()

    def _wait_ready(self) -> None:
        if not self.processes():
            self._boot()
        try:
            wait_until(
                lambda: len(self._registered()) >= self._count,
                "the TaskManagers have registered",
                self.processes(),
            )
        except EngineError as exc:
            is_fatal = any(each.status == _FATAL for each in self.processes())
            self._shut_down()
            if is_fatal:
                raise StartFailed(str(exc)) from exc
            raise

    def _shut_down(self) -> None:
        # Nothing is worth an orderly end here, which would take seconds.
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
        log = log_file(name, self.folder)
        # Flink's web page shows what is in the file of this property.
        jvm = configuration.jvm(self.folder, f"-Dlog.file={log}", *memory)
        command = [self._java, *jvm, "-cp", f"{self._jars}/*", main, *arguments]
        environ = {**os.environ, "FLINK_CONF_DIR": str(self.folder)}
        return Process(name, command, self.folder, environ)


def _trace(log: str) -> str:
    """Return the stack trace in the client's log, which begins behind a ruler."""
    return log.rpartition("-----\n")[2]
