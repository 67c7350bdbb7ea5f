/**
 * Every error of this client, and whether sending again is safe. Named as in the Python library:
 *
 *     MessagingError
 *     ├─ ConfigurationError     a setting is missing or wrong
 *     ├─ Unsupported            this client does not do that; a Python service does
 *     ├─ EncodeError            cannot be written as JSON, or is too large; not sent
 *     ├─ DecodeError            what arrived is no envelope
 *     │   └─ BadSignature       nobody can tell who said it
 *     ├─ PublishError           NOT sent; safe to send again
 *     │   ├─ Unroutable         the broker has nowhere to put it
 *     │   └─ PublishUncertain   maybe sent; sending again may double it
 *     ├─ BrokerUnavailable      no connection; NOT sent, safe to send again
 *     ├─ ServiceNotFound        nobody of that name has ever started; not sent
 *     ├─ RequestTimeout         no answer in time; whether it was handled is unknown
 *     └─ RemoteError            the other service answered with an error
 */
export class MessagingError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = this.constructor.name;
  }
}
export class ConfigurationError extends MessagingError {}
export class Unsupported extends MessagingError {}
export class EncodeError extends MessagingError {}
export class DecodeError extends MessagingError {
  /** @param {string} message @param {string} [reason] of the dead letter */
  constructor(message, reason = 'invalid') {
    super(message);
    this.reason = reason;
  }
}
export class BadSignature extends DecodeError {
  constructor(message) {
    super(message, 'bad_signature');
    /** The message that nobody vouches for, where it could be read. */
    this.received = undefined;
  }
}
export class PublishError extends MessagingError {}
export class Unroutable extends PublishError {}
export class PublishUncertain extends PublishError {}
export class BrokerUnavailable extends MessagingError {}
export class ServiceNotFound extends MessagingError {}
export class RequestTimeout extends MessagingError {}
export class RemoteError extends MessagingError {
  /** @param {{type: string, message: string, retryable: boolean, code: string}} said */
  constructor(said) {
    super(`${said.type}: ${said.message}`);
    Object.assign(this, { type: said.type, retryable: said.retryable, code: said.code });
  }
}

const REJECT_CODES = ['rejected', 'invalid', 'not_found', 'conflict', 'forbidden'];

/** Thrown by a handler: give this message up now, or answer a request with this refusal. */
export class Reject extends Error {
  /** @param {string} reason text for people @param {string} [code] for programs */
  constructor(reason, code = 'rejected') {
    super(reason);
    this.name = 'Reject';
    if (!REJECT_CODES.includes(code)) {
      throw new TypeError(`Reject: expected a code out of ${REJECT_CODES.join(', ')}, got ${code}`);
    }
    this.code = code;
  }
}

/** Thrown by a handler: try this message again, after that many seconds where they are given. */
export class Retry extends Error {
  /** @param {number} [delaySeconds] */
  constructor(delaySeconds) {
    super(delaySeconds === undefined ? 'again' : `again in ${delaySeconds} s`);
    this.name = 'Retry';
    this.delaySeconds = delaySeconds;
  }
}

/** @returns {string} what is put on record of an error, or of a text */
export function textOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : error;
}
