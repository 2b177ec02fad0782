"""A server of A2A 1.0 in the standard library, as a program of any language could be one."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ["PORT"])
CARD = {
    "name": "server",
    "description": "says it again",
    "version": "1.0.0",
    "capabilities": {"streaming": False},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "say", "name": "Say", "description": "says it", "tags": []}],
    "supportedInterfaces": [
        {
            "url": f"http://127.0.0.1:{PORT}/rpc",
            "protocolBinding": "JSONRPC",
            "protocolVersion": "1.0",
        }
    ],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._send(CARD)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = request["params"]["message"]
        message = {
            "messageId": "m",
            "role": "ROLE_AGENT",
            "parts": [{"text": f"served {said['parts'][0]['text']} as {os.getuid()}"}],
        }
        self._send({"jsonrpc": "2.0", "id": request["id"], "result": {"message": message}})

    def _send(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
