/**
 * The message bus from Node: sends, handles, asks, answers, and is seen in the registry.
 *
 * What it does not do, and says so: keep messages in a database. So it sends nothing under custody
 * (`Unsupported`), nothing with a delay, and what the broker cannot take is an error of `send`.
 * docs/node.md has the whole list; docs/wire_protocol.md is what goes over the wire.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Broker } from './lib/broker.js';
import { encode } from './lib/envelope.js';
import { ConfigurationError, RequestTimeout } from './lib/errors.js';
import { Flow } from './lib/flow.js';
import { HandlerTable } from './lib/handlers.js';
import { MemoryInbox } from './lib/inbox.js';
import { isServiceName, PERISHABLE, Topology } from './lib/names.js';
import { withDefaults, fromVariables } from './lib/options.js';
import { compose, propertiesOf } from './lib/outgoing.js';
import { Parking } from './lib/parking.js';
import { Presence } from './lib/presence.js';
import { Receiver } from './lib/receiver.js';
import { Requests } from './lib/requests.js';
import { Keyring } from './lib/signing.js';

export * from './lib/errors.js';
export { FileInbox, MemoryInbox } from './lib/inbox.js';

const DRAIN_SECONDS = 10;
const CONSUME_AGAIN_SECONDS = 0.2;
/** Dead letters carry the raw body of what may have been too large itself. */
const UNLIMITED = new Set(['bus.dead_letter']);

/**
 * @typedef {import('./lib/options.js').Options} Options
 *
 * @typedef {object} SendOptions
 * @property {'LOW'|'NORMAL'|'HIGH'|'CRITICAL'} [priority]
 * @property {number} [expiresIn] seconds
 * @property {string} [correlationId]
 * @property {object} [headers]
 * @property {string} [dedupKey] what is sent under one key is one message, handled once
 * @property {boolean} [withoutCustody] CRITICAL as the most urgent, answered for by the broker alone
 */
export class Bus {
  #handled = new AsyncLocalStorage();
  #inHand = new Set();
  #consuming;
  #isStopping = false;

  /** @param {Options} options @throws {ConfigurationError} one of them is wrong */
  constructor(options) {
    Object.assign(this, withDefaults(options));
    if (!isServiceName(this.service)) {
      throw new ConfigurationError(`service: expected letters, digits, - and _, got ${this.service}`);
    }
    this.instanceId = randomUUID().replaceAll('-', '');
    this.keyring = new Keyring(this.signingKeys, this.gateway, this.unsignedUntil);
    if (this.keyring.hasKeys) this.keyring.keyOf(this.service); // not when the first message is sent
    this.topology = new Topology(this.namespace, this.rabbitmqQueues);
    this.broker = new Broker(this.url ?? '', this.brokerTimeoutSeconds, this.log);
    this.handlers = new HandlerTable();
    this.flow = new Flow();
    this.parking = new Parking(this);
    this.receiver = new Receiver(this, this.inbox ?? new MemoryInbox());
    this.requests = new Requests(this);
    this.presence = new Presence(this);
  }

  /**
   * A bus by the variables that Python services read too: BROKER_URL and MESSAGING_….
   * @param {Omit<Options, 'url'>} options what is given here wins
   */
  static fromEnvironment(options, env = process.env) {
    return new Bus({ ...fromVariables(env), ...options });
  }

  /**
   * Have messages whose type matches the pattern handed to a function. It may be called again with
   * the same message: after an error as `retry` says, and after the loss of a process. What it
   * returns answers a request. Call this before `start`.
   * @param {string} pattern a type, or a topic pattern: `document.*`, `document.#`
   * @param {(data: *, message: import('./lib/envelope.js').Envelope) => *} run
   * @param {{retry?: import('./lib/retry.js').RetryPolicy, senders?: string[]}} [options]
   */
  on(pattern, run, options) {
    this.handlers.add(pattern, run, options);
    return this;
  }

  /** Connect, for a program that only sends and asks. @throws {BrokerUnavailable} */
  async connect() {
    await this.broker.open();
    return this;
  }

  /** Connect, handle messages, register, send heartbeats; on return messages are being handled. */
  async start() {
    await this.broker.open();
    await this.#consume();
    await this.presence.start();
    return this;
  }

  /** Take no more messages, end what is in hand, deregister and close. */
  async stop() {
    this.#isStopping = true;
    const { channel, tag } = this.#consuming ?? {};
    if (channel) {
      await channel.cancel(tag).catch((error) => this.log.warn(`consuming had ended: ${error.message}`));
      let timer;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, DRAIN_SECONDS * 1000)));
      await Promise.race([Promise.allSettled([...this.#inHand]), late]);
      clearTimeout(timer);
      await this.presence.stop();
    }
    await this.broker.close(); // what is not acknowledged comes again, here or elsewhere
  }

  /**
   * Send a command to one service; on return the broker has it, also where that never ran.
   * @param {string} target @param {string} type @param {*} [data] @param {SendOptions} [options]
   * @returns {Promise<string>} the message id
   * @throws {Unsupported} CRITICAL without `withoutCustody`. NOT sent
   * @throws {BrokerUnavailable} NOT sent; safe to send again
   * @throws {PublishUncertain} maybe sent; sending again is safe with a `dedupKey`
   */
  async send(target, type, data, options = {}) {
    const envelope = this.#compose('command', type, data, { ...options, target });
    const queue = this.topology.workQueue(target);
    await this.publish(envelope, { routingKey: queue.name, queue, mandatory: true, ...this.#howOften(options) });
    return envelope.id;
  }

  /**
   * Tell every service that subscribes to this type; errors as with `send`.
   * @param {string} type @param {*} [data] @param {SendOptions} [options]
   * @returns {Promise<string>} the message id, the same for all
   */
  async broadcast(type, data, options = {}) {
    const envelope = this.#compose('event', type, data, options);
    const exchange = this.topology.eventsExchange.name;
    await this.publish(envelope, { exchange, routingKey: type, ...this.#howOften(options) });
    return envelope.id;
  }

  /**
   * Ask one service and wait for its answer; in a handler of a request no longer than its sender.
   * @param {string} target @param {string} type @param {*} [data]
   * @param {SendOptions & {timeout?: number}} [options] seconds
   * @returns {Promise<*>} what the handler returned
   * @throws {ServiceNotFound} nobody of that name ever started. NOT sent
   * @throws {RequestTimeout} no answer in time; whether it was handled is unknown
   * @throws {RemoteError} the handler failed
   */
  async request(target, type, data, { timeout = this.requestTimeoutSeconds, ...options } = {}) {
    const cause = this.#handled.getStore();
    const isWaitedFor = cause?.kind === 'request' && cause.expires_at;
    const left = isWaitedFor ? (Date.parse(cause.expires_at) - Date.now()) / 1000 : timeout;
    const seconds = Math.min(timeout, left);
    if (!(seconds > 0)) throw new RequestTimeout(`nobody waits for an answer of ${target} any more. NOT sent`);
    const replyTo = this.requests.queue.name;
    const all = { priority: 'HIGH', ...options, target, replyTo, expiresIn: seconds };
    const envelope = this.#compose('request', type, data, all);
    return this.requests.ask(envelope, seconds);
  }

  /** Put an envelope on the broker. For the parts of this client. */
  async publish(envelope, { expires = PERISHABLE.has(envelope.type), publishes = 0, ...where }) {
    const limit = UNLIMITED.has(envelope.type) ? Infinity : this.maxMessageBytes;
    const body = encode(envelope, this.keyring, limit);
    await this.broker.publish({ ...where, body, properties: propertiesOf(envelope, { expires, publishes }) });
  }

  /** Put a message into the queue from which it comes back into the work queue. For the receiver. */
  async publishPaused(envelope, body, seconds, publishes) {
    const queue = this.topology.pauseQueue(this.service, seconds);
    const properties = propertiesOf(envelope, { publishes });
    await this.broker.publish({ routingKey: queue.name, queue, mandatory: true, body, properties });
  }

  /** Run something while a message is handled: what it sends continues the conversation. */
  during(envelope, run) {
    return this.#handled.run(envelope, run);
  }

  #compose(kind, type, data, options) {
    return compose(this.service, kind, type, data, options, this.#handled.getStore());
  }

  #howOften({ dedupKey }) {
    return { publishes: dedupKey === undefined ? 0 : 1 };
  }

  async #consume() {
    const { topology, service, handlers } = this;
    const channel = await this.broker.channel();
    const queue = topology.workQueue(service);
    for (const { name, type } of [topology.eventsExchange, topology.servicesExchange]) {
      await channel.assertExchange(name, type, { durable: true });
    }
    await channel.assertQueue(queue.name, queue.options);
    for (const pattern of handlers.patterns()) {
      await channel.bindQueue(queue.name, topology.eventsExchange.name, pattern);
    }
    await channel.bindQueue(queue.name, topology.servicesExchange.name, service);
    await channel.prefetch(this.concurrency);
    channel.on('close', () => this.#consuming?.channel === channel && this.#consumeAgain());
    const { consumerTag } = await channel.consume(queue.name, (delivery) => this.#take(delivery, channel));
    this.#consuming = { channel, tag: consumerTag };
  }

  /** Consume on a new channel, as soon as there is one, for as long as it takes. */
  async #consumeAgain() {
    while (!this.#isStopping) {
      await sleep(CONSUME_AGAIN_SECONDS * 1000);
      try {
        if (!this.#isStopping) return await this.#consume();
      } catch (error) {
        this.log.warn(`cannot consume yet: ${error.message}`);
      }
    }
    return undefined;
  }

  #take(delivery, channel) {
    if (!delivery) {
      channel.close(); // somebody has deleted the queue: it is made again
      return;
    }
    const done = this.receiver.receive(delivery, channel).finally(() => this.#inHand.delete(done));
    this.#inHand.add(done);
  }
}
