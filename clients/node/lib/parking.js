/** Parking: handing a message that is given up to the gateway, which keeps it. */
import { deflateSync } from 'node:zlib';
import { idOf, newId } from './envelope.js';
import { canonical, NumberText } from './json.js';

const DEAD_LETTER = 'bus.dead_letter';

export class Parking {
  /** @param {import('../bus.js').Bus} bus */
  constructor(bus) {
    this.bus = bus;
  }

  /**
   * Give up a message of this service. On return the broker has the record of it, for the gateway.
   * @param {import('./envelope.js').Received} received
   * @param {string} reason as in docs/wire_protocol.md @param {Error|string} error
   * @throws {import('./errors.js').MessagingError} it is nowhere; the message must not be acknowledged
   */
  async park({ envelope, tree }, reason, error, { attempts = envelope.attempt, mayHaveBeenHandled = false } = {}) {
    const letter = { message_id: envelope.id, reason, attempts, envelope: tree };
    await this.#keep({ ...letter, may_have_been_handled: mayHaveBeenHandled }, error);
  }

  /** Give up what nobody vouches for, under an id of its own: its own id may be another message's. */
  async parkUnproved(received, error) {
    const id = idOf(this.bus.service, `unproved/${canonical(received.tree)}`);
    await this.#keep({ message_id: id, reason: error.reason, attempts: 0, envelope: received.tree }, error);
  }

  /** Give up what is no message. @param {Buffer} body @param {object} properties of the delivery */
  async parkRaw(body, properties, reason, error) {
    const { contentType, contentEncoding, headers = {} } = properties;
    const shown = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    await this.#keep(
      {
        message_id: newId(),
        reason,
        attempts: 0,
        raw_body: deflateSync(body).toString('base64'),
        raw_headers: { content_type: contentType ?? null, content_encoding: contentEncoding ?? null, headers: shown },
      },
      error,
    );
  }

  async #keep(letter, error) {
    const isError = error instanceof Error;
    const data = {
      service: this.bus.service,
      error: storable(isError ? `${error.name}: ${error.message}` : error),
      traceback: isError ? storable(error.stack ?? '') : '',
      service_version: this.bus.version,
      envelope: null,
      raw_headers: null,
      may_have_been_handled: false,
      ...letter,
    };
    const generation = data.envelope?.get('generation') ?? new NumberText('0');
    await this.bus.send(this.bus.gateway, DEAD_LETTER, data, {
      priority: 'CRITICAL',
      withoutCustody: true,
      // However often it is given up, there is one.
      dedupKey: `dead/${letter.message_id}/${this.bus.service}/${generation.text}`,
    });
    this.bus.log.warn(`${letter.message_id} parked: ${letter.reason}: ${data.error}`);
  }
}

/** Write out what UTF-8 and PostgreSQL cannot hold. */
function storable(text) {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD').replaceAll('\0', '\\x00');
}
