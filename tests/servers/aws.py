"""moto's server, and a metadata service as ECS and EC2 (IMDSv2 alone) have them, and the portal of single sign-on, until stdin ends."""
import http.server
import json
import logging
import sys
import threading

from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)


class Metadata(http.server.BaseHTTPRequestHandler):
    ROLE = "/latest/meta-data/iam/security-credentials"

    def answer(self, body, **headers):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.answer(b"token", x_aws_ec2_metadata_token_ttl_seconds="21600")

    def do_GET(self):
        path = self.path.rstrip("/")
        if path.startswith("/latest") and self.headers.get("x-aws-ec2-metadata-token") != "token":
            self.send_error(401)
        elif path == self.ROLE:
            self.answer(b"machine")
        elif path.startswith("/federation/credentials"):
            keys = {"accessKeyId": "ASIASSO", "secretAccessKey": "secret", "sessionToken": "token"}
            body = {"roleCredentials": keys | {"expiration": 4070908800000}}
            self.answer(json.dumps(body).encode(), content_type="application/json")
        else:
            keys = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAMACHINE", "SecretAccessKey": "secret"}
            keys |= {"Token": "token", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}
            self.answer(json.dumps(keys).encode(), content_type="application/json")

    def log_message(self, *_):
        pass


aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
aws.start()
host, port = aws.get_host_and_port()
metadata = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
threading.Thread(target=metadata.serve_forever, daemon=True).start()
url, metadata_url = f"http://{host}:{port}", f"http://127.0.0.1:{metadata.server_port}"
print(f"ready {url} us-east-1 AKIABASE basesecret - {metadata_url}", flush=True)
sys.stdin.read()
