# Both stages need Python 3.11 or newer with venv, and Debian's useradd.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY manage.py LICENSE ./
COPY gateway gateway
COPY sockets sockets
COPY examples examples
# The keys live for this line only: production does not start without, collecting does not use them.
RUN ENVIRONMENT=production DATA_DIR=/tmp/build \
    SECRET_KEY=only-while-the-image-is-built-000 JWT_SECRET=only-while-the-image-is-built-111 \
    python manage.py collectstatic --no-input --verbosity 0 \
    && python -m compileall -q gateway sockets examples

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin gateway \
    && install -d -o gateway -g gateway -m 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 4000 4001
# Started as "docker run IMAGE", with -p 127.0.0.1:4001:4001 for the private port; other commands as "docker run IMAGE migrate".
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + (os.environ.get('CLIENT_SOCKET_PORT') or '4000') + '/healthz', timeout=4)"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "--host", "0.0.0.0"]
