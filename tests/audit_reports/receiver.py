"""A receiver of OTLP/HTTP with JSON that takes only what the published protobuf types take: unknown fields are errors, and ids have their lengths.

Prints its port, then one line for each request: `logs N` or `traces N` with the names of the spans. With `--fail` it answers 503 first, and with
`--reject` it says that it kept only a part.
"""

import base64
import http.server
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

failures = 1 if "--fail" in sys.argv else 0


def as_protobuf(value):
    """OTLP has ids in hexadecimal where protobuf's own JSON has base64."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(held)).decode() if name in ("traceId", "spanId", "parentSpanId") else as_protobuf(held)
            for name, held in value.items()
        }
    return [as_protobuf(held) for held in value] if isinstance(value, list) else value


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global failures
        body = self.rfile.read(int(self.headers["content-length"]))
        if failures:
            failures -= 1
            return self.answer(503, b"")
        assert self.headers["content-type"] == "application/json"
        kind = {"/v1/logs": ExportLogsServiceRequest, "/v1/traces": ExportTraceServiceRequest}[self.path]
        try:
            request = json_format.ParseDict(as_protobuf(json.loads(body)), kind())
        except json_format.ParseError as error:
            print("REFUSED", error, flush=True)
            return self.answer(400, b"")
        if self.path == "/v1/logs":
            records = [record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records]
            assert all(len(record.trace_id) == 16 and len(record.span_id) == 8 and record.time_unix_nano for record in records)
            print("logs", len(records), flush=True)
        else:
            spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
            for span in spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8 and span.end_time_unix_nano >= span.start_time_unix_nano
                print("span", span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex() or "-", len(span.events), span.end_time_unix_nano - span.start_time_unix_nano, span.name, flush=True)
        rejected = b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}' if "--reject" in sys.argv else b"{}"
        self.answer(200, rejected)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
