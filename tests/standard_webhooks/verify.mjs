// Verifies deliveries with npm's `standardwebhooks`. Started with the directory that holds
// `node_modules`. Reads a JSON array of {secret, headers, body} on its standard input, and prints
// one of booleans. Any other failure ends it.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

const verifies = ({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
};

const cases = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(verifies)));
