# One image for every process of the mesh; the command chooses which:
#   docker run trellis python -m ingress_gateway | auth_svc | attribution_svc | capture_svc | analytics_svc
#   docker run trellis python -m trellisctl org list
# The embedded stores are not in it: on a cluster each service has a real one, named by its DSN.

FROM python:3.11-slim AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/trellis
COPY requirements-server.lock .
# Every dependency is a wheel whose hash the lock names: no compiler, and nothing that is not in the lock.
RUN /opt/trellis/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements-server.lock \
    && /opt/trellis/bin/pip check

FROM python:3.11-slim AS source
WORKDIR /app
COPY svc_runtime svc_runtime
COPY ingress_gateway ingress_gateway
COPY capture_svc capture_svc
COPY attribution_svc attribution_svc
COPY analytics_svc analytics_svc
COPY auth_svc auth_svc
COPY rule_language rule_language
COPY enrichment enrichment
COPY macro_language macro_language
COPY trellisctl trellisctl
COPY gen gen
# The running container cannot write here, so the byte code is made now.
RUN python -m compileall -q .

FROM python:3.11-slim
LABEL org.opencontainers.image.title="trellis" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 trellis \
    && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin trellis \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/trellis
COPY --from=dependencies /opt/trellis /opt/trellis
COPY --from=source /app /app
COPY LICENSE /app/LICENSE
ENV PATH=/opt/trellis/bin:$PATH \
    PYTHONPATH=/app:/app/gen \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_DATA_DIR=/var/lib/trellis
WORKDIR /app
USER 10001:10001
# Journals of the gateway: mount a volume that survives the container.
VOLUME /var/lib/trellis
STOPSIGNAL SIGTERM
CMD ["python", "-m", "trellisctl", "--help"]
