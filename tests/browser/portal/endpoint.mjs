// A merchant's endpoint: returns what it is set to, and keeps what came.
import { createHmac } from "node:crypto";
import { createServer } from "node:http";

export class Endpoint {
  static async start() {
    const endpoint = new Endpoint();
    endpoint.server = createServer((request, response) => {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        endpoint.received.push({ path: request.url, headers: request.headers, body: Buffer.concat(parts).toString() });
        response.writeHead(endpoint.status, { "content-type": "text/plain" });
        response.end(endpoint.answer);
      });
    });
    await new Promise((resolve) => endpoint.server.listen(0, "127.0.0.1", resolve));
    return endpoint;
  }

  received = [];
  status = 200;
  answer = "thank you";

  get url() {
    return `http://127.0.0.1:${this.server.address().port}/hooks`;
  }

  // What came of an event, or under an id.
  of(id) {
    return this.received.filter(({ headers }) => headers["webhook-id"] === id);
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

// Whether one of a request's signatures is by the secret (Standard Webhooks 1.0.0).
export function isSignedWith({ headers, body }, secret) {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const signature = createHmac("sha256", key).update(signed).digest("base64");
  return headers["webhook-signature"].split(" ").includes(`v1,${signature}`);
}
