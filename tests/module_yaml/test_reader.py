from __future__ import annotations

import datetime as dt
import pathlib
import time

import pytest

from statefun_flask.module_yaml import Finding
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import load
from statefun_flask.module_yaml import ModuleError
from statefun_flask.module_yaml import PlaygroundEgress
from statefun_flask.module_yaml import PlaygroundIngress
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml import State

GREETER = pathlib.Path(__file__).parents[2] / "examples" / "greeter" / "module.yaml"
PLAYGROUND = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://functions:8000/statefun
  transport:
    type: io.statefun.transports.v1/async
---
kind: io.statefun.playground.v1/ingress
spec:
  port: 8090
---
kind: io.statefun.playground.v1/egress
spec:
  port: 8091
  topics:
    - greetings
"""
BLOG = """\
version: "1.0"

module:
  meta:
    type: remote
  spec:
    functions:
      - function:
          meta:
            kind: http
            type: example/greeter
          spec:
            endpoint: http://localhost:5000/statefun
            states:
              - seen_count
            maxNumBatchRequests: 500
            timeout: 2min
    ingresses:
      - ingress:
          meta:
            type: statefun.kafka.io/routable-protobuf-ingress
            id: example/names
          spec:
            address: localhost:9092
            consumerGroupId: my-group-id
            topics:
              - topic: names
                typeUrl: com.googleapis/example.GreetRequest
                targets:
                  - example/greeter
    egresses:
      - egress:
          meta:
            type: statefun.kafka.io/generic-egress
            id: example/greets
          spec:
            address: localhost:9092
            deliverySemantic:
              type: exactly-once
              transactionTimeoutMillis: 100000
"""


def test_reads_the_greeter_of_the_examples() -> None:
    reading = read(GREETER)

    assert reading.findings == ()
    assert reading.module.version == "3.1"
    endpoint = reading.module.endpoints[0]
    assert endpoint.url_for("example/greeter") == "http://127.0.0.1:5000/statefun"
    assert endpoint.call_timeout == dt.timedelta(minutes=2)
    ingress = reading.module.ingresses[0]
    assert isinstance(ingress, KafkaIngress)
    assert (ingress.consumer_group, ingress.startup) == ("greeter", "earliest")


def test_reads_the_playground() -> None:
    reading = read(PLAYGROUND)

    assert reading.findings == ()
    assert reading.module.ingresses == [PlaygroundIngress(port=8090)]
    assert reading.module.egresses == [PlaygroundEgress(port=8091, topics=("greetings",))]


def test_reads_the_blogs_format() -> None:
    reading = read(BLOG)

    assert reading.findings == ()
    module = reading.module
    assert module.version == "1.0"
    assert module.endpoints[0].states == (State(name="seen_count"),)
    assert module.endpoints[0].max_batch == 500
    egress = module.egress("example/greets")
    assert isinstance(egress, KafkaEgress)
    assert egress.transaction_timeout == dt.timedelta(seconds=100)


def test_reads_format_3_0() -> None:
    text = """\
version: "3.0"
module:
  meta: {type: REMOTE}
  spec:
    endpoints:
      - endpoint:
          meta: {kind: http}
          spec:
            functions: ns/*
            urlPathTemplate: http://host/{function.name}
            timeouts: {call: 1 min, connect: 10s}
    ingresses:
      - ingress:
          meta: {type: io.statefun.kafka/ingress, id: ns/in}
          spec:
            properties: [bootstrap.servers: "h:9092", group.id: 5]
            topics: [{topic: t, valueType: ns/T, targets: [ns/a]}]
""".replace(", group.id: 5]", "]\n            consumerGroupId: 5")

    reading = read(text)

    assert reading.findings == ()
    ingress = reading.module.ingresses[0]
    assert isinstance(ingress, KafkaIngress)
    assert (ingress.bootstrap, ingress.consumer_group) == ("h:9092", "5")
    assert reading.module.endpoints[0].url_for("ns/a") == "http://host/a"


def test_routers_and_grpc_of_2_x_are_not_a_finding() -> None:
    text = """\
version: "2.0"
module:
  meta: {type: remote}
  spec:
    functions:
      - function: {meta: {kind: GRPC, type: a/b}, spec: {host: h, port: 5000}}
    routers:
      - router:
          meta: {type: org.apache.flink.statefun.sdk/protobuf-router}
          spec: {ingress: a/in, target: "a/b/{{$.id}}", messageType: a.B, descriptorSet: x}
"""
    reading = read(text)

    assert reading.findings == ()
    assert [each.section for each in reading.module.extensions] == ["routers"]


def test_a_functions_own_endpoint_goes_before_its_namespaces() -> None:
    module = load(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: a/*, urlPathTemplate: 'http://h:1/{function.name}'}\n"
        "---\n"
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: a/own, urlPathTemplate: 'http://h:2/'}\n"
    )

    assert [
        (endpoint := module.endpoint_for(name)) and endpoint.url_for(name)
        for name in ("a/own", "a/other", "b/own")
    ] == ["http://h:2/", "http://h:1/other", None]


def test_strings_that_yaml_reads_as_other_types_stay_strings() -> None:
    module = load(
        "kind: io.statefun.kafka.v1/ingress\n"
        "spec:\n"
        "  id: no/off\n"
        "  address: h:9092\n"
        "  consumerGroupId: 1:30\n"
        "  topics: [{topic: 0123, valueType: a/T, targets: [y/n]}]\n"
    )

    ingress = module.ingresses[0]
    assert isinstance(ingress, KafkaIngress)
    assert (ingress.id, ingress.group, ingress.topics[0].topic) == ("no/off", "1:30", "0123")


def test_the_timeouts_of_async_have_defaults_of_their_own() -> None:
    module = load(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec:\n"
        "  functions: a/b\n"
        "  urlPathTemplate: http://h:1/\n"
        "  transport: {timeouts: {connect: 1s}}\n"
    )

    assert module.endpoints[0].call_timeout == dt.timedelta(minutes=1)
    assert module.endpoints[0].connect == dt.timedelta(seconds=1)


def test_timeouts_that_only_okhttp_has_name_it() -> None:
    (finding,) = read(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec:\n"
        "  functions: a/b\n"
        "  urlPathTemplate: http://h:1/\n"
        "  transport: {timeouts: {read: 1s}}\n"
    ).findings

    assert str(finding) == (
        "module.yaml:5:26: warning: spec.transport.timeouts.read: 'read' is not known here, so the"
        " runtime ignores it. Remove it, or write 'type: io.statefun.transports.v1/okhttp' in"
        " 'transport', which is not the default from StateFun 3.2 on."
    )


def test_an_error_lists_all_findings_with_their_places(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "module.yaml"
    path.write_text(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec:\n"
        "  functions: greeter\n"
        "  urlPathTemplate: http://${HOST}/\n"
        "---\n"
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: a/b, urlPathTemplate: 'http://h:1', transport: {call: 2mins}}\n"
    )

    with pytest.raises(ModuleError) as info:
        load(path)

    assert str(info.value) == (
        f"{path}:3:14: [0].spec.functions: 'greeter' is not the name of a function. Write it as"
        " 'namespace/name' or 'namespace/*', with one slash.\n"
        f"{path}:4:20: [0].spec.urlPathTemplate: '${{HOST}}' is not replaced: StateFun has"
        " no placeholders. Write the value, or replace it before the file is deployed.\n"
        f"{path}:7:73: [1].spec.transport.call: '2mins' is not a duration. Did you mean '2min'?"
        " Write a whole number and one of the units d, h, min, s, ms, µs, ns, such as 30s."
    )


def test_warnings_do_not_stop_a_load() -> None:
    text = (
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: a/b, urlPathTemplate: 'http://h:1', maxNumBatchRequest: 5}\n"
    )

    assert load(text).endpoints[0].max_batch == 1000
    (finding,) = read(text).findings
    assert str(finding) == (
        "module.yaml:2:55: warning: spec.maxNumBatchRequest: 'maxNumBatchRequest' is not known"
        " here, so the runtime ignores it. Did you mean 'maxNumBatchRequests'? Correct the name,"
        " or remove it."
    )


def test_a_missing_file_is_one_finding() -> None:
    with pytest.raises(ModuleError) as info:
        load("nowhere.yaml")

    assert str(info.value) == (
        "nowhere.yaml: The file cannot be read: No such file or directory. Name the app's module"
        " file."
    )
    assert isinstance(info.value, ValueError)


def test_a_file_that_is_not_utf_8_is_one_finding(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "module.yaml"
    path.write_bytes(b"kind: \xff\n")

    with pytest.raises(ModuleError) as info:
        load(path)

    assert info.value.findings == (
        Finding(
            "unreadable",
            "The file is not UTF-8: byte 6 is 0xff.",
            "Save it as UTF-8.",
            file=str(path),
        ),
    )


@pytest.mark.parametrize("depth", [60, 900])
def test_deep_nesting_is_refused_once(depth: int) -> None:
    text = f"kind: a/b\nspec:\n  x: {'[' * depth}{']' * depth}\n"

    assert [each.code for each in read(text).findings if each.severity == "error"] == ["nesting"]


def test_a_character_that_yaml_forbids_has_its_place() -> None:
    finding = read("kind: a/b\nspec: \x07\n").findings[0]

    assert (finding.code, finding.line) == ("syntax", 2)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("maxNumBatchRequests: {}", "large-number"),
        ("maxNumBatchRequests: -{}", "large-number"),
        ("transport: {{type: io.statefun.transports.v1/async, call: {}d}}", "bad-duration"),
        ("transport: {{type: io.statefun.transports.v1/async, call: {}.9d}}", "bad-duration"),
    ],
)
def test_numbers_of_thousands_of_digits_are_refused(field: str, code: str) -> None:
    text = "kind: io.statefun.endpoints.v2/http\nspec:\n  functions: a/b\n"
    text += f"  urlPathTemplate: http://h:1/s\n  {field.format('9' * 5000)}\n"

    assert [each.code for each in read(text).findings] == [code]


def test_milliseconds_of_thousands_of_digits_are_refused() -> None:
    text = "kind: io.statefun.kafka.v1/egress\nspec:\n  id: a/b\n  address: h:1\n"
    text += "  deliverySemantic: {type: exactly-once, transactionTimeoutMillis: "
    text += "9" * 5000 + "}\n"

    assert [each.code for each in read(text).findings] == ["large-number"]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("end", ["", "x"])
def test_a_string_of_many_digits_is_read_in_linear_time(version: str, end: str) -> None:
    text = (
        f'version: "{version}"\nmodule:\n  meta: {{type: remote}}\n  spec:\n    functions:\n'
        "      - function:\n          meta: {kind: http, type: a/b}\n"
        f"          spec: {{endpoint: {'9' * 20_000}{end}}}\n"
    )
    start = time.process_time()

    assert read(text).errors
    assert time.process_time() - start < 5


def test_further_findings_are_only_counted() -> None:
    fields = "".join(f"  field{number}: 1\n" for number in range(5000))

    result = read(f"kind: io.statefun.endpoints.v2/http\nspec:\n{fields}")

    assert len(result.findings) == 1001
    assert str(result.findings[-1]) == (
        "module.yaml: The file has 4002 more findings. Correct these first, and check again."
    )
    assert result.errors


def test_a_byte_order_mark_in_a_text_is_ignored() -> None:
    assert read("\ufeffkind: a/b\nspec: {}\n").module == read("kind: a/b\nspec: {}\n").module


def test_a_finding_escapes_control_characters() -> None:
    name = r'"\e]0;title\a\n::error::forged\u009b31m\u202e\u2028"'
    finding = read(f"kind: a/b\nspec: {{}}\n{name}: 1\n", "a\n.yaml").findings[-1]

    assert "\x1b]0;title\x07\n::error::forged\x9b31m\u202e\u2028" in finding.text
    assert str(finding).isprintable()
    assert r"'\x1b]0;title\x07\n::error::forged\x9b31m\u202e\u2028'" in str(finding)
    assert str(finding).startswith(r"a\n.yaml:3:1: ")


def test_duplicate_keys_name_both_lines() -> None:
    finding = read("kind: a/b\nspec: {}\nkind: a/c\n").findings[-1]

    assert finding.text == "'kind' appears twice, on lines 1 and 3."


def test_importing_the_package_does_not_import_yaml() -> None:
    import subprocess
    import sys

    program = "import sys, statefun_flask; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
