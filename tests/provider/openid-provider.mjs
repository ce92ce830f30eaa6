// An OpenID provider for the tests: npm's `oidc-provider`, certified by the OpenID Foundation.
//
// Started with the directory that holds `node_modules`. Prints its base URL. For each line on its
// standard input it takes new keys, and prints `rotated`: `overlap` publishes the old key beside
// the new one, `replace` does not. Ends with its standard input.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

// Standard output is for the tests.
console.info = console.error;

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const merchants = JSON.parse(process.argv[3]);
const resource = 'https://api.example.com';

function newKey(alg) {
  const { privateKey } = alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

function provider(base, keys) {
  return new Provider(base, {
    jwks: { keys },
    clientDefaults: { id_token_signed_response_alg: keys[0].alg },
    clients: merchants.map((merchant) => ({
      client_id: merchant,
      client_secret: 'for these tests only',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: () => ({
          scope: 'webhooks',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3600,
          jwt: { sign: { alg: keys[0].alg } },
        }),
      },
    },
  });
}

const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  let keys = [newKey('RS256')];
  const serve = () => {
    handle = provider(base, keys).callback();
  };
  serve();
  console.log(base);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    // The other algorithm each time, so that both are tried.
    const key = newKey(keys[0].alg === 'RS256' ? 'ES256' : 'RS256');
    keys = line === 'overlap' ? [key, keys[0]] : [key];
    serve();
    console.log('rotated');
  });
  lines.on('close', () => process.exit(0));
});
let handle;
