/** Reads a body in base64 from each line; says how the client of clients/node reads it. */
import { createInterface } from 'node:readline';
import { decode } from '../../clients/node/lib/envelope.js';
import { DecodeError } from '../../clients/node/lib/errors.js';
import { canonical, write } from '../../clients/node/lib/json.js';
import { Keyring } from '../../clients/node/lib/signing.js';

const nobody = new Keyring('', 'api-gateway');
for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    const { tree } = decode(Buffer.from(line, 'base64'), nobody);
    said = { canonical: canonical(tree), written: write(tree) };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    said = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
