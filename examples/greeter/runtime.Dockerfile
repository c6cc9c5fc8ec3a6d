# The runtime with the greeter's module, for the master and the TaskManagers. Build it at the root of
# the checkout:
#     docker build -f examples/greeter/runtime.Dockerfile -t greeter-runtime .

FROM apache/flink-statefun:3.3.0
COPY examples/greeter/flink-conf.yaml /opt/flink/conf/flink-conf.yaml
COPY examples/greeter/deployed.yaml /opt/statefun/modules/greeter/module.yaml
