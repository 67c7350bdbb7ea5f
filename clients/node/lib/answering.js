/** What becomes of a request: one attempt, and the answer or the error goes back. Nothing is kept. */
import { isExpired } from './envelope.js';
import { EncodeError, MessagingError, textOf } from './errors.js';
import { call } from './handlers.js';
import { reply } from './requests.js';

/** Longest life of a signed request: ids are remembered so long. */
const SIGNED_REQUEST_SECONDS = 86_400;
/** How often what has expired is forgotten: each time costs all that is remembered. */
const SWEEP_MILLISECONDS = 1000;

export class Answering {
  /** Signed requests that were begun, and until when they may be sent again. */
  #seen = new Map();
  #sweptAt = 0;

  /** @param {import('../bus.js').Bus} bus */
  constructor(bus) {
    this.bus = bus;
  }

  /** Handle a request: one attempt, and the answer or error goes back. */
  async answer(received, arrival, handler) {
    const { envelope } = received;
    const { bus } = this;
    if (isExpired(envelope)) return undefined; // nobody waits any more
    if (bus.keyring.hasKeys) {
      const why = this.#whyNotNew(envelope);
      if (why && !arrival.redelivered) return bus.parking.park(received, 'bad_signature', why, { attempts: 0 });
      if (why || arrival.redelivered) {
        const text = `an instance of ${bus.service} died while it handled this; whether it did is unknown`;
        return this.#answer(envelope, null, new MessagingError(text));
      }
    }
    if (!handler) {
      const error = new MessagingError(`${bus.service} has no handler for ${envelope.type}`);
      error.name = 'NoHandler';
      return this.#answer(envelope, null, error, 'no_handler');
    }
    let answer;
    try {
      answer = await call(handler, envelope);
    } catch (error) {
      bus.log.warn(`${envelope.type} ${envelope.id} failed: ${error}`);
      return this.#answer(envelope, null, error instanceof Error ? error : new Error(String(error)));
    }
    return this.#answer(envelope, answer);
  }

  async #answer(request, data, error, code) {
    const failed = error && textOf(error);
    if (!request.reply_to) return failed;
    try {
      await reply(this.bus, request, data, error, code);
    } catch (failure) {
      if (!(failure instanceof EncodeError) || error) throw failure;
      await reply(this.bus, request, null, failure);
      return textOf(failure);
    }
    return failed;
  }

  #whyNotNew(envelope) {
    const now = Date.now();
    if (now - this.#sweptAt > SWEEP_MILLISECONDS) {
      for (const [id, until] of this.#seen) if (until < now) this.#seen.delete(id);
      this.#sweptAt = now;
    }
    const until = Date.parse(envelope.expires_at ?? '');
    if (!(until <= now + SIGNED_REQUEST_SECONDS * 1000)) return 'a signed request has to expire within a day';
    if (this.#seen.has(envelope.id)) {
      return `${this.bus.service} has begun with this request before: sent again by somebody`;
    }
    this.#seen.set(envelope.id, until);
    return undefined;
  }
}
