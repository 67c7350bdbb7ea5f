/**
 * RabbitMQ: one connection that is made again when it breaks, and every fate of a message told apart.
 */
import amqp from 'amqplib';
import { randomUUID } from 'node:crypto';
import { BrokerUnavailable, ConfigurationError, PublishError, PublishUncertain, Unroutable } from './errors.js';

const LEAST_PAUSE_SECONDS = 0.2;
const LONGEST_PAUSE_SECONDS = 5;

export class Broker {
  #connection;
  #publishing;
  /** What waits for a confirm: told when it can come no more. */
  #waiting = new Set();
  /** Tokens of messages that came back. */
  #returned = new Set();
  #declared = new Set();
  #isClosed = false;
  #pauseSeconds = LEAST_PAUSE_SECONDS;

  /** @param {string} url @param {number} timeoutSeconds to connect, and to confirm @param {Console} log */
  constructor(url, timeoutSeconds, log) {
    const scheme = /^([a-z][a-z0-9+-]*):/.exec(url)?.[1];
    if (scheme !== 'amqp' && scheme !== 'amqps') {
      throw new ConfigurationError(
        `BROKER_URL: this client speaks to RabbitMQ alone: expected amqp://…, got ${scheme ?? 'no'} scheme`,
      );
    }
    this.url = url;
    this.timeoutSeconds = timeoutSeconds;
    this.log = log;
  }

  /** Connect, and stay connected until `close`. @throws {BrokerUnavailable} the first try failed */
  async open() {
    try {
      await this.#connect();
    } catch (error) {
      throw new BrokerUnavailable(`no connection to the broker: ${error.message}`, { cause: error });
    }
  }

  /** Return a new channel to consume on. @throws {BrokerUnavailable} */
  async channel() {
    if (!this.#connection) throw new BrokerUnavailable('no connection to the broker');
    try {
      const channel = await this.#connection.createChannel();
      channel.on('error', (error) => this.log.error(`a channel broke: ${error.message}`));
      return channel;
    } catch (error) {
      throw new BrokerUnavailable(`the connection to the broker is lost: ${error.message}`, { cause: error });
    }
  }

  /**
   * Hand one message to the broker; on return it has confirmed that it has it.
   * @param {{exchange?: string, routingKey: string, body: string|Buffer, properties: object,
   *          queue?: object, mandatory?: boolean}} message `queue` is made sure of first
   * @throws {Unroutable} mandatory, and no queue took it. NOT sent
   * @throws {BrokerUnavailable} no connection. NOT sent; safe to send again
   * @throws {PublishUncertain} the connection broke, or nothing was confirmed in time. Maybe sent
   */
  async publish(message) {
    const { queue } = message;
    const wasDeclared = queue && this.#declared.has(queue.name);
    if (queue) await this.declare(queue);
    try {
      await this.#attempt(message);
    } catch (error) {
      // What was declared on this connection may be gone with the broker's contents.
      if (!(error instanceof Unroutable && wasDeclared)) throw error;
      this.#declared.delete(queue.name);
      await this.declare(queue);
      await this.#attempt(message);
    }
  }

  /** Make sure of a queue, once for each connection. @throws {PublishError} it is there, and another one */
  async declare(queue) {
    if (this.#declared.has(queue.name)) return;
    // On a channel of its own: a refusal closes it, with all that waits for a confirm on it.
    const channel = await this.channel();
    try {
      await channel.assertQueue(queue.name, queue.options);
      this.#declared.add(queue.name);
      await channel.close();
    } catch (error) {
      throw new PublishError(`the broker refused queue ${queue.name}: ${error.message}`, { cause: error });
    }
  }

  /** Close the connection, for good. */
  async close() {
    this.#isClosed = true;
    const connection = this.#connection;
    this.#forget();
    await connection?.close();
  }

  #attempt({ exchange = '', routingKey, body, properties, mandatory = false }) {
    const channel = this.#publishing;
    if (!channel) throw new BrokerUnavailable('no connection to the broker');
    const token = randomUUID();
    return new Promise((resolve, reject) => {
      const end = (error) => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        const isReturned = this.#returned.delete(token);
        if (error) reject(error);
        else if (isReturned) reject(new Unroutable(`no queue takes ${routingKey} from exchange '${exchange}'`));
        else resolve();
      };
      const timer = setTimeout(
        () => end(new PublishUncertain(`not confirmed within ${this.timeoutSeconds} s`)),
        this.timeoutSeconds * 1000,
      );
      this.#waiting.add(end);
      const json = { contentType: 'application/json', contentEncoding: 'utf-8' };
      const all = { ...json, ...properties, messageId: token, mandatory };
      try {
        channel.publish(exchange, routingKey, Buffer.from(body), all, (error) => end(error && meaningOf(error)));
      } catch (error) {
        end(new BrokerUnavailable(`the channel is closed: ${error.message}`, { cause: error }));
      }
    });
  }

  async #connect() {
    const options = { timeout: this.timeoutSeconds * 1000 };
    const connection = await amqp.connect(this.url, options);
    connection.on('error', (error) => this.log.warn(`connection to the broker: ${error.message}`));
    const publishing = await connection.createConfirmChannel();
    publishing.on('error', (error) => this.log.error(`publishing: ${error.message}`));
    publishing.on('return', (message) => this.#returned.add(message.properties.messageId));
    // Without its channel the connection is of no use: both are made anew.
    publishing.on('close', () => this.#end(connection));
    connection.on('close', () => this.#lost(connection));
    this.#connection = connection;
    this.#publishing = publishing;
    this.#pauseSeconds = LEAST_PAUSE_SECONDS;
  }

  async #end(connection) {
    try {
      await connection.close();
    } catch (error) {
      this.log.debug(`the connection was closing already: ${error.message}`);
      this.#lost(connection);
    }
  }

  #lost(connection) {
    if (this.#connection !== connection) return;
    this.#forget();
    if (this.#isClosed) return;
    this.log.warn('the connection to the broker is lost');
    this.#again();
  }

  #again() {
    setTimeout(async () => {
      if (this.#isClosed) return;
      try {
        await this.#connect();
      } catch (error) {
        this.log.warn(`no connection to the broker: ${error.message}`);
        this.#again();
      }
    }, this.#pauseSeconds * 1000);
    this.#pauseSeconds = Math.min(LONGEST_PAUSE_SECONDS, this.#pauseSeconds * 2);
  }

  #forget() {
    this.#connection = this.#publishing = undefined;
    this.#declared.clear();
    for (const end of [...this.#waiting]) end(broken());
    this.#returned.clear();
  }
}

/** amqplib tells a broker's refusal from a channel that is gone by its text alone. */
function meaningOf(error) {
  return error.message === 'message nacked' ? new PublishError('the broker refused the message') : broken();
}

function broken() {
  return new PublishUncertain('the connection broke before the broker confirmed');
}
