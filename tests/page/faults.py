"""A proxy in front of the service that answers in its place where a test wants other answers than a healthy one's."""

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


#: Instead of an answer: the connection is closed, as by a service that stands still.
HANG_UP = "hang up"


class Proxy:
    """Passes requests on to `port`, unless `answer(method, path, headers)` gives `(status, headers, body)`, or `HANG_UP`."""

    def __init__(self, port):
        self.answer = None
        self.seen = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen.append((self.command, self.path, self.headers))
                given = proxy.answer and proxy.answer(self.command, self.path, self.headers)
                if given == HANG_UP:
                    self.close_connection = True
                    return
                status, headers, content = given or self.passed_on(body)
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                # A page that asked for something else meanwhile is not there for the rest.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = handle_any

            def passed_on(self, body):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def problem(status, detail, **more):
    """A problem+json answer."""
    return status, {"Content-Type": "application/problem+json"}, {"status": status, "detail": detail, **more}


def ndjson(rows):
    """Rows as the service streams them."""
    return 200, {"Content-Type": "application/x-ndjson"}, "".join(json.dumps(row) + "\n" for row in rows).encode()
