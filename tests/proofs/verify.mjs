// As verify.py, with npm's `jose`. Started with the directory that holds `node_modules`.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve('jose')));

const { keys, proofs } = JSON.parse(readFileSync(0, 'utf8'));
const keySet = createLocalJWKSet(keys);

const verified = async (proof) => {
  try {
    const options = { algorithms: ['EdDSA'], typ: 'delivery-proof+jwt' };
    return (await jwtVerify(proof, keySet, options)).payload;
  } catch (error) {
    const refusals = ['ERR_JWS_SIGNATURE_VERIFICATION_FAILED', 'ERR_JWKS_NO_MATCHING_KEY'];
    if (refusals.includes(error.code)) return null;
    throw error;
  }
};

console.log(JSON.stringify(await Promise.all(proofs.map(verified))));
