"""module.yaml as code: it is read in any format with a finding for each error, and written.

::

    module = load("module.yaml")
    module.endpoint_for("example/greeter").url_for("example/greeter")
"""

from __future__ import annotations

from .findings import Finding as Finding
from .findings import FormatError as FormatError
from .findings import ModuleError as ModuleError
from .model import AnyEgress as AnyEgress
from .model import AnyIngress as AnyIngress
from .model import Aws as Aws
from .model import Component as Component
from .model import Extension as Extension
from .model import GrpcFunction as GrpcFunction
from .model import HttpEndpoint as HttpEndpoint
from .model import KafkaEgress as KafkaEgress
from .model import KafkaIngress as KafkaIngress
from .model import KinesisEgress as KinesisEgress
from .model import KinesisIngress as KinesisIngress
from .model import Module as Module
from .model import PlaygroundEgress as PlaygroundEgress
from .model import PlaygroundIngress as PlaygroundIngress
from .model import State as State
from .model import Topic as Topic
from .model import VERSIONS as VERSIONS
from .readdress import readdress as readdress
from .reader import load as load
from .reader import read as read
from .reader import ReadResult as ReadResult
from .writer import convert as convert
from .writer import dump as dump
