/** Asking another service and waiting for its answer; and what an answer looks like. */
import { randomUUID } from 'node:crypto';
import { decode, instant, newId } from './envelope.js';
import {
  DecodeError,
  PublishUncertain,
  Reject,
  RemoteError,
  RequestTimeout,
  ServiceNotFound,
  Unroutable,
} from './errors.js';

/** The reply queue of one process, and who waits for what. */
export class Requests {
  #waiting = new Map();
  #isConsuming;

  /** @param {import('../bus.js').Bus} bus */
  constructor(bus) {
    this.bus = bus;
    this.queue = bus.topology.replyQueue(bus.service, randomUUID().replaceAll('-', ''));
  }

  /** Send a request and wait for its answer. */
  async ask(envelope, seconds) {
    let timer;
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(envelope.id, { asked: envelope.target, resolve, reject });
      timer = setTimeout(() => {
        const what = `no answer from ${envelope.target} to ${envelope.type} within ${seconds} s`;
        reject(new RequestTimeout(`${what}; whether it was handled is unknown`));
      }, seconds * 1000);
    });
    answer.catch(() => {}); // sending may fail first
    try {
      this.#isConsuming ??= this.#consume();
      await this.#isConsuming;
      await this.#send(envelope);
      return await answer;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(envelope.id);
    }
  }

  async #send(envelope) {
    const exchange = this.bus.topology.servicesExchange.name;
    try {
      await this.bus.publish(envelope, { exchange, routingKey: envelope.target, mandatory: true, expires: true });
    } catch (error) {
      if (!(error instanceof Unroutable)) throw error;
      throw new ServiceNotFound(`no service named ${envelope.target} has ever started on this broker`);
    }
  }

  async #consume() {
    try {
      const channel = await this.bus.broker.channel();
      // The queue goes with it. Whoever waits, waits to the end: nothing is asked twice.
      channel.on('close', () => (this.#isConsuming = undefined));
      await channel.assertQueue(this.queue.name, this.queue.options);
      await channel.consume(this.queue.name, (message) => message && this.#receive(message.content), { noAck: true });
    } catch (error) {
      this.#isConsuming = undefined;
      throw error;
    }
  }

  #receive(body) {
    let reply;
    try {
      reply = decode(body, this.bus.keyring).envelope;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.bus.log.warn(`dropped what is no reply: ${error.message}`);
      return;
    }
    const waiting = this.#waiting.get(reply.causation_id);
    if (!waiting) this.bus.log.info(`the reply to ${reply.causation_id} came too late`);
    else if (waiting.asked !== reply.source) {
      this.bus.log.warn(`reply to ${reply.causation_id} dropped: ${waiting.asked} was asked, not ${reply.source}`);
    } else if (reply.headers.error) waiting.reject(new RemoteError(saidBy(reply.headers.error)));
    else waiting.resolve(reply.data);
  }
}

/**
 * Put the answer to a request on the queue its sender named.
 * @param {*} data @param {Error} [error] instead of an answer
 * @param {string} [code] of the error, for programs
 */
export async function reply(bus, request, data, error, code) {
  const refused = error instanceof Reject ? error.code : code;
  const described = error && { type: error.name, message: error.message, retryable: false, code: refused };
  const envelope = {
    id: newId(),
    type: request.type,
    kind: 'reply',
    source: bus.service,
    target: request.source,
    priority: request.priority,
    data: data ?? null,
    created_at: instant(),
    expires_at: request.expires_at,
    correlation_id: request.correlation_id,
    causation_id: request.id,
    attempt: 1,
    generation: 0,
    traceparent: request.traceparent,
    headers: described ? { error: described } : undefined,
    version: 1,
  };
  try {
    await bus.publish(envelope, { routingKey: request.reply_to, mandatory: true, expires: true });
  } catch (failure) {
    // Whoever asked sees that no answer came in time.
    if (!(failure instanceof Unroutable || failure instanceof PublishUncertain)) throw failure;
    bus.log.info(`the answer to ${request.id} did not arrive: ${failure.message}`);
  }
}

function saidBy(error) {
  const said = typeof error === 'object' ? error : { message: error };
  return {
    type: String(said.type || 'Error'),
    message: String(said.message || ''),
    retryable: said.retryable === true,
    code: String(said.code || ''),
  };
}
