/** Every name on the broker, its arguments, and what names may look like: one place. */
import { ConfigurationError } from './errors.js';

const SERVICE = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const TYPE = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const PATTERN = /^([A-Za-z0-9_-]+|\*|#)(\.([A-Za-z0-9_-]+|\*|#))*$/;
const MAX_TYPE_LENGTH = 200;

/** RabbitMQ serves larger numbers first, and a message without one last. */
export const PRIORITIES = Object.freeze({ LOW: 1, NORMAL: 3, HIGH: 5, CRITICAL: 7 });
/** Worth nothing once they are late: dropped then, and never put on record. */
export const PERISHABLE = new Set([
  'service.announce',
  'service.health.check',
  'service.registration.wanted',
  'service.registered',
]);
/** Seconds that a failed message may wait in the broker: a queue for each. */
export const PAUSES = [1, 2, 5, 10, 20, 60, 120, 300, 900, 3600];

export const isServiceName = (text) => typeof text === 'string' && SERVICE.test(text);
export const isMessageType = (text) => typeof text === 'string' && text.length <= MAX_TYPE_LENGTH && TYPE.test(text);
export const isPattern = (text) => typeof text === 'string' && text.length <= MAX_TYPE_LENGTH && PATTERN.test(text);

/** Names and arguments of one installation; a queue is `{name, options}` as amqplib wants it. */
export class Topology {
  /** @param {string} namespace before every name @param {'classic'|'quorum'} queues */
  constructor(namespace, queues) {
    if (queues !== 'classic' && queues !== 'quorum') {
      throw new ConfigurationError(`rabbitmqQueues: expected classic or quorum, got ${queues}`);
    }
    this.prefix = namespace ? `${namespace}.` : '';
    this.lasting = queues === 'quorum' ? { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000_000 } : {};
    this.maxPriority = queues === 'quorum' ? {} : { 'x-max-priority': 7 };
    this.eventsExchange = { name: `${this.prefix}bus.events`, type: 'topic' };
    this.servicesExchange = { name: `${this.prefix}bus.services`, type: 'direct' };
  }

  workQueue(service) {
    return this.#queue(`${this.prefix}${service}`, { ...this.lasting, ...this.maxPriority });
  }

  /** Where a custodian gets receipts. */
  custodyQueue(service) {
    return this.#queue(`${this.prefix}${service}.custody`, this.lasting);
  }

  /** Where a failed message waits; the broker puts it back into the work queue then. */
  pauseQueue(service, seconds) {
    return this.#queue(`${this.prefix}${service}.later.${seconds}`, {
      ...this.lasting,
      'x-message-ttl': seconds * 1000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': this.workQueue(service).name,
    });
  }

  replyQueue(service, token) {
    const name = `${this.prefix}reply.${service}.${token}`;
    return { name, options: { durable: false, exclusive: true, autoDelete: true, arguments: { 'x-expires': 60_000 } } };
  }

  #queue(name, args) {
    return { name, options: { durable: true, arguments: args } };
  }
}

/** @returns {boolean} whether a topic exchange would route this type by this pattern */
export function matches(pattern, type) {
  const words = { '*': '\\.[^.]+', '#': '(?:\\.[^.]+)*' };
  const text = pattern.split('.').map((word) => words[word] ?? `\\.${word}`);
  return new RegExp(`^${text.join('')}$`).test(`.${type}`);
}
