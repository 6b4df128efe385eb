FROM docker.io/library/debian:bookworm-slim
COPY dist/*.whl /opt/
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir "$(ls /opt/*.whl)[pyscf]" \
 && rm -r /opt/*.whl /var/lib/apt/lists
ENV PATH=/opt/venv/bin:$PATH
ENTRYPOINT ["autotune"]
