# The generator of names. Build it at the root of the checkout:
#     docker build -f examples/greeter/datagen.Dockerfile -t greeter-datagen .

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /venv
COPY examples/greeter/requirements/datagen.txt /requirements.txt
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

FROM python:3.11-slim-bookworm
COPY --from=build /venv /venv
WORKDIR /app
COPY examples/greeter/datagen.py examples/greeter/greeter_pb2.py examples/greeter/names.jsonl ./
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KAFKA_BOOTSTRAP=kafka:9092
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=2 \
    CMD ["python", "-c", "import os, time; assert time.time() - os.stat('/tmp/alive').st_mtime < 30"]
# The exec form lets SIGTERM reach the program, which then delivers the records in its queue.
CMD ["python", "datagen.py", "--rate", "5", "--alive", "/tmp/alive"]
