/** Writing envelopes in the name of a service, and the broker's properties of what carries them. */
import { idOf, instant, newId, TASK_NAME } from './envelope.js';
import { Unsupported } from './errors.js';
import { isMessageType, isServiceName, PRIORITIES } from './names.js';

/**
 * Return a new envelope; it continues the conversation of the message that is being handled.
 * @param {string} source the service
 * @param {'command'|'event'|'request'} kind
 * @param {import('./envelope.js').Envelope} [cause] the message that is being handled
 * @throws {TypeError} a name, priority or duration is not valid
 * @throws {Unsupported} it takes a database. NOT sent
 */
export function compose(source, kind, type, data, options, cause) {
  const { target = '', priority = 'NORMAL', expiresIn, dedupKey, replyTo } = options;
  if (!isMessageType(type)) throw new TypeError(`not a message type (words joined by dots): ${type}`);
  if (kind !== 'event' && !isServiceName(target)) throw new TypeError(`not a service name: ${target}`);
  if (!Object.hasOwn(PRIORITIES, priority)) throw new TypeError(`not a priority: ${priority}`);
  if (expiresIn !== undefined && !(expiresIn >= 0)) {
    throw new TypeError(`expiresIn is no number of seconds: ${expiresIn}`);
  }
  if ('delay' in options) throw new Unsupported('delay: this client keeps nothing to send it later. NOT sent');
  if (priority === 'CRITICAL' && kind !== 'request' && !options.withoutCustody) {
    throw new Unsupported(
      'CRITICAL: this client has no outbox to keep it until its outcome is known. NOT sent. Pass ' +
        'withoutCustody: true to have it be the most urgent and kept by the broker alone, or have a Python ' +
        'service send it',
    );
  }
  const id = dedupKey === undefined ? newId() : idOf(source, dedupKey);
  return {
    id,
    type,
    kind,
    source,
    target,
    priority,
    data: data === undefined || data === null ? {} : data,
    created_at: instant(),
    expires_at: expiresIn === undefined ? undefined : instant(expiresIn),
    correlation_id: options.correlationId ?? cause?.correlation_id ?? id,
    causation_id: cause?.id,
    reply_to: replyTo,
    attempt: 1,
    generation: 0,
    traceparent: cause?.traceparent,
    headers: options.headers,
    version: 1,
  };
}

/**
 * Return the properties and headers of the message that carries an envelope.
 * @param {{expires?: boolean, publishes?: number}} options whether the broker shall drop it when it
 *   expires; how often it is published, this time included, 0 where that is once for sure
 */
export function propertiesOf(envelope, { expires = false, publishes = 0 }) {
  const { expires_at: end, created_at: start } = envelope;
  const copies = publishes ? { sent_at: instant(), publishes } : {};
  return {
    priority: PRIORITIES[envelope.priority],
    deliveryMode: envelope.reply_to || expires ? 1 : 2,
    correlationId: envelope.correlation_id,
    replyTo: envelope.reply_to,
    expiration: expires && end ? String(Math.max(0, Math.ceil(Date.parse(end) - Date.parse(start)))) : undefined,
    headers: {
      lang: 'js',
      task: TASK_NAME,
      id: envelope.id,
      root_id: envelope.correlation_id,
      parent_id: envelope.causation_id ?? null,
      shadow: envelope.type,
      group: null,
      argsrepr: `(${envelope.kind} ${envelope.source} -> ${envelope.target || '*'})`,
      origin: envelope.source,
      ignore_result: true,
      ...copies,
    },
  };
}
