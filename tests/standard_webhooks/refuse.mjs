// As refuse.py, with npm's `standardwebhooks`. Started with the directory that holds `node_modules`.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

const given = JSON.parse(readFileSync(0, 'utf8'));
const parsed = JSON.parse(given.body);
const cases = [];

const add = (reasons, changed = {}, body = given.body) => {
  const headers = { ...given.headers, ...changed };
  for (const name in headers) if (headers[name] === null) delete headers[name];
  let verifies = true;
  try {
    new Webhook(given.secret).verify(body, headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    verifies = false;
  }
  cases.push({ reasons, headers, body, verifies });
};

const signed = (reasons, secret, at) => add(reasons, {
  'webhook-timestamp': String(Math.floor(at / 1000)),
  'webhook-signature': new Webhook(secret).sign(given.headers['webhook-id'], new Date(at), given.body),
});

const minutes = 60_000;
add([]);
// express.json(), and JSON.stringify(request.body) afterwards.
add(['bodyReserialized'], {}, JSON.stringify(parsed));
add(['bodyReserialized'], {}, JSON.stringify(parsed, null, 2));
add(['bodyChanged'], {}, JSON.stringify({ ...parsed, type: 'another' }));
add(['headerMissing'], { 'webhook-signature': null });
add(['malformedSignature'], { 'webhook-signature': 'v1,' });
signed(['timestampOutsideTolerance'], given.secret, Date.now() - 6 * minutes);
signed(['unknownSecret'], given.other, Date.now());
console.log(JSON.stringify(cases));
