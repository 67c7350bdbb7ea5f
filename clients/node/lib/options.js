/** What a bus can be told, and what holds where it is not. */
import os from 'node:os';
import { ConfigurationError } from './errors.js';

/**
 * @typedef {object} Options
 * @property {string} service its name on the bus; all instances of one name are of one program
 * @property {string} url `amqp://…` or `amqps://…`
 * @property {string} [version]
 * @property {string} [namespace] as the installation's MESSAGING_NAMESPACE
 * @property {string} [gateway] name of the gateway's service
 * @property {string} [signingKeys] as MESSAGING_SIGNING_KEYS; empty: nothing is signed
 * @property {string} [unsignedUntil]
 * @property {'classic'|'quorum'} [rabbitmqQueues] as MESSAGING_RABBITMQ_QUEUES
 * @property {number} [concurrency] messages handled at one time
 * @property {number} [heartbeatSeconds]
 * @property {number} [suspectSeconds] a heartbeat that is older is worth nothing
 * @property {number} [brokerTimeoutSeconds] to connect and to confirm
 * @property {number} [requestTimeoutSeconds]
 * @property {number} [maxMessageBytes]
 * @property {import('./inbox.js').Inbox} [inbox] what it remembers of messages; default: memory
 * @property {string} [host] @property {number} [port] @property {string} [healthEndpoint] its HTTP server
 * @property {object[]} [routes] of the gateway, as docs/wire_protocol.md says
 * @property {object} [schemas] JSON Schema by message type, for the registry
 * @property {object} [metadata] what it says about itself
 * @property {() => object|Promise<object>} [checks] `{name: {ok: boolean, text: string}}`
 * @property {Console} [log]
 */

/** What an instance of `Bus` has where nothing else is said. */
const DEFAULTS = {
  service: undefined,
  url: undefined,
  version: '',
  namespace: '',
  gateway: 'api-gateway',
  signingKeys: '',
  unsignedUntil: '',
  rabbitmqQueues: 'classic',
  concurrency: 10,
  heartbeatSeconds: 5,
  suspectSeconds: 15,
  brokerTimeoutSeconds: 4,
  requestTimeoutSeconds: 30,
  maxMessageBytes: 262_144,
  inbox: undefined,
  host: os.hostname(),
  port: null,
  healthEndpoint: null,
  routes: [],
  schemas: {},
  metadata: {},
  checks: () => ({}),
  log: console,
};

/** @returns {Partial<Options>} what the variables say that Python services read too */
export function fromVariables(env) {
  const number = (name) => (env[name] === undefined ? undefined : Number(env[name]));
  return {
    url: env.BROKER_URL,
    namespace: env.MESSAGING_NAMESPACE,
    gateway: env.MESSAGING_GATEWAY_NAME,
    signingKeys: env.MESSAGING_SIGNING_KEYS,
    unsignedUntil: env.MESSAGING_UNSIGNED_UNTIL,
    rabbitmqQueues: env.MESSAGING_RABBITMQ_QUEUES,
    concurrency: number('MESSAGING_WORKER_CONCURRENCY'),
    heartbeatSeconds: number('MESSAGING_HEARTBEAT_SECONDS'),
    suspectSeconds: number('MESSAGING_SUSPECT_SECONDS'),
    brokerTimeoutSeconds: number('MESSAGING_BROKER_TIMEOUT_SECONDS'),
    requestTimeoutSeconds: number('MESSAGING_REQUEST_TIMEOUT_SECONDS'),
    maxMessageBytes: number('MESSAGING_MAX_MESSAGE_BYTES'),
  };
}

/**
 * @returns {Options} all of them, also those that were not given
 * @throws {ConfigurationError} an unknown name, or no number
 */
export function withDefaults(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new ConfigurationError(`${name}: no such option; there are ${Object.keys(DEFAULTS).join(', ')}`);
    }
    if (typeof DEFAULTS[name] === 'number' && !(Number.isFinite(value) && value > 0)) {
      throw new ConfigurationError(`${name}: expected a number above 0, got ${value}`);
    }
  }
  return { ...DEFAULTS, ...given };
}
