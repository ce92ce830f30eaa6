# pip install standardwebhooks
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])  # whsec_...


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        # Verify the bytes as they came: JSON that is written again is not the same.
        body = self.read_body()
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_response(400)
        else:
            print(event["type"], self.headers["webhook-id"], flush=True)
            self.send_response(204)
        self.end_headers()

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # Some proxies send bodies in chunks, and http.server leaves those to us.
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # A trailer.
        return body


HTTPServer(("", int(os.environ["PORT"])), Receiver).serve_forever()
