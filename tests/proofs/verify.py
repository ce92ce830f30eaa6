# Verifies proofs of deliveries with PyPI's `PyJWT`, offline. Reads {keys, proofs} on its standard input:
# a key set and an array of proofs. Prints an array of what they state, null for one that is refused. Any
# other failure ends it.
import json
import sys

import jwt

given = json.load(sys.stdin)
keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(given["keys"]).keys}


def verified(proof):
    header = jwt.get_unverified_header(proof)
    if header["typ"] != "delivery-proof+jwt" or header["kid"] not in keys:
        return None
    try:
        return jwt.decode(proof, keys[header["kid"]], algorithms=["EdDSA"])
    except jwt.InvalidSignatureError:
        return None


print(json.dumps([verified(proof) for proof in given["proofs"]]))
