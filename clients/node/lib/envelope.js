/**
 * The envelope: one message with its headers, on its way to JSON and back.
 *
 * Fields are named as on the wire (docs/wire_protocol.md), in every language.
 */
import { createHash, randomBytes } from 'node:crypto';
import { BadSignature, ConfigurationError, DecodeError, EncodeError } from './errors.js';
import { isMessageType, isServiceName, PRIORITIES } from './names.js';
import { NumberText, parse, plain, write } from './json.js';

export const TASK_NAME = 'messaging.deliver';
const VERSION = 1;
const KINDS = ['command', 'event', 'request', 'reply'];
const INSTANT = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$/;
const LARGEST_COUNT = 2 ** 31 - 1;
/** Of ids that stand for a source and a dedup key; the Python library's own. */
const DEDUP_NAMESPACE = Buffer.from('6d1a7c3e5f0b4a439a3c8a1d2f6b7c90', 'hex');

/**
 * @typedef {object} Envelope
 * @property {string} id UUIDv7, the same for every copy and every attempt
 * @property {string} type dot-separated words
 * @property {'command'|'event'|'request'|'reply'} kind
 * @property {string} source the service that said it
 * @property {string} target the service it is for; empty for broadcasts
 * @property {'LOW'|'NORMAL'|'HIGH'|'CRITICAL'} priority
 * @property {*} data
 * @property {string} created_at
 * @property {string} [expires_at]
 * @property {string} correlation_id
 * @property {string} [causation_id]
 * @property {string} [reply_to]
 * @property {number} attempt
 * @property {string} [custodian]
 * @property {number} generation
 * @property {string} [traceparent]
 * @property {Record<string, *>} headers
 */

/** What came: the envelope, and the tree it was read from, in which no number has changed. */
export class Received {
  /** @param {Envelope} envelope @param {Map} tree */
  constructor(envelope, tree) {
    this.envelope = envelope;
    this.tree = tree;
  }

  /** Return the body of the same message with its attempts counted up. */
  bodyOfAttempt(attempt) {
    const tree = new Map(this.tree).set('attempt', new NumberText(String(attempt)));
    return bodyOf(write(tree));
  }
}

/**
 * Return the body of the task that carries an envelope, signed where there are keys.
 * @param {Envelope} envelope @param {import('./signing.js').Keyring} keyring
 * @param {number} maxBytes
 * @throws {EncodeError} it cannot be written as JSON, or is too large; not sent
 */
export function encode(envelope, keyring, maxBytes) {
  let text;
  try {
    const present = Object.entries(envelope).filter(([, value]) => value !== undefined && value !== null);
    // Two levels around it are Celery's.
    text = write(Object.fromEntries([...present, ['data', envelope.data]]), 2);
    if (keyring.hasKeys) {
      const speaker = keyring.speakerOf(envelope.source, envelope.custodian);
      text = `${text.slice(0, -1)},"signature":${write(keyring.sign('message', parse(text), speaker))}}`;
    }
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw new EncodeError(`message ${envelope.type} cannot be written as JSON: ${error.message}`, { cause: error });
  }
  const body = bodyOf(text);
  const size = Buffer.byteLength(body);
  if (size > maxBytes) throw new EncodeError(`${size} bytes, the limit is ${maxBytes}`);
  return body;
}

/** A Celery protocol-2 body: positional arguments, keyword arguments, Celery's own options. */
export function bodyOf(argument) {
  return `[[${argument}],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]`;
}

/**
 * Return what a body carries, its signature checked where there are keys.
 * @param {Buffer} body @param {import('./signing.js').Keyring} keyring
 * @returns {Received}
 * @throws {DecodeError} not JSON, not a task of this protocol, not an envelope
 * @throws {BadSignature} nobody can tell who said it
 */
export function decode(body, keyring) {
  let tree;
  try {
    tree = parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
  } catch (error) {
    throw new DecodeError(`not JSON: ${error.message}`);
  }
  const [args, kwargs] = Array.isArray(tree) ? tree : [];
  if (!Array.isArray(args) || args.length !== 1 || !(kwargs instanceof Map)) {
    throw new DecodeError('not a task with an envelope as its only argument');
  }
  const received = new Received(read(args[0]), args[0]);
  if (keyring.hasKeys) {
    const { source, custodian } = received.envelope;
    try {
      keyring.check('message', received.tree, keyring.speakerOf(source, custodian));
    } catch (error) {
      if (error instanceof BadSignature) error.received = received;
      throw error;
    }
  }
  return received;
}

/** @param {*} tree @returns {Envelope} @throws {DecodeError} a field is missing or wrong */
function read(tree) {
  if (!(tree instanceof Map)) throw new DecodeError('an envelope is an object');
  const said = plain(tree);
  // The version first: under another one the other fields may mean something else.
  if (said.version !== VERSION) {
    throw new DecodeError(`unknown envelope version ${said.version}; this service reads ${VERSION}`);
  }
  const envelope = { target: '', priority: 'NORMAL', data: null, attempt: 1, generation: 0, headers: {} };
  for (const [name, [isLeftOut, isValid]] of Object.entries(FIELDS)) {
    if (isLeftOut(said[name])) continue;
    if (!tree.has(name)) throw new DecodeError(`not an envelope: ${name} is missing`);
    if (!isValid(said[name], tree.get(name))) throw new DecodeError(`not an envelope: ${name} is wrong`);
    envelope[name] = said[name];
  }
  return Object.freeze(envelope);
}

const isText = (value) => typeof value === 'string' && value !== '';
const isId = (value) => isText(value) && [...value].length <= 200 && !value.includes('\0');
const isInstant = (value) => isText(value) && INSTANT.test(value) && !Number.isNaN(Date.parse(value));
// By how it was written: 1.0 is no count.
const isWhole = (written) => /^-?\d+$/.test(written?.text ?? '');
const isCount = (least) => (value, written) => isWhole(written) && value >= least && value <= LARGEST_COUNT;
const never = () => false;
const absent = (value) => value === undefined;
const nothing = (value) => value === undefined || value === null;
const empty = (value) => !value || (typeof value === 'object' && Object.keys(value).length === 0);
/** For each field: which values stand for none, and what else it may be. */
const FIELDS = {
  id: [never, isId],
  type: [never, isMessageType],
  kind: [never, (value) => KINDS.includes(value)],
  source: [never, isServiceName],
  target: [empty, isServiceName],
  priority: [absent, (value) => typeof value === 'string' && Object.hasOwn(PRIORITIES, value)],
  data: [absent, () => true],
  created_at: [never, isInstant],
  expires_at: [nothing, isInstant],
  correlation_id: [never, isText],
  causation_id: [nothing, isText],
  reply_to: [nothing, isText],
  attempt: [absent, isCount(1)],
  custodian: [nothing, isServiceName],
  generation: [absent, isCount(0)],
  traceparent: [nothing, isText],
  headers: [empty, (value) => typeof value === 'object' && !Array.isArray(value)],
  version: [never, () => true],
  signature: [nothing, isText],
};

/** @param {Envelope} envelope @param {number} [allowanceSeconds] clocks may differ by so much */
export function isExpired(envelope, allowanceSeconds = 0) {
  return envelope.expires_at !== undefined && Date.now() - allowanceSeconds * 1000 > Date.parse(envelope.expires_at);
}

/** @returns {string} an ISO 8601 instant, that many seconds from now */
export function instant(secondsFromNow = 0) {
  return new Date(Date.now() + secondsFromNow * 1000).toISOString();
}

/** @returns {string} a new UUIDv7: unique, and ordered by the time of its making */
export function newId() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  return uuid(bytes, 7);
}

/** @returns {string} the id of the message that a service sends under a dedup key: a UUIDv5 */
export function idOf(source, key) {
  return uuid(createHash('sha1').update(DEDUP_NAMESPACE).update(`${source}/${key}`).digest().subarray(0, 16), 5);
}

function uuid(bytes, version) {
  bytes[6] = (bytes[6] & 0x0f) | (version << 4);
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
}
