/** Which function handles which message type: the most specific pattern has it. */
import { ConfigurationError, Reject } from './errors.js';
import { isMessageType, isPattern, matches } from './names.js';

export class HandlerTable {
  #handlers = new Map();

  add(pattern, run, { retry, senders, isBuiltIn = false } = {}) {
    if (!isPattern(pattern)) {
      throw new ConfigurationError(`on: expected a type or topic pattern such as document.*, got ${pattern}`);
    }
    if (typeof run !== 'function') throw new ConfigurationError(`on ${pattern}: expected a function, got ${run}`);
    if (this.#handlers.get(pattern)?.isBuiltIn === false) {
      throw new ConfigurationError(`on: ${pattern} is handled already`);
    }
    this.#handlers.set(pattern, { pattern, run, retry, senders, isBuiltIn });
  }

  find(type) {
    const exact = this.#handlers.get(type);
    if (exact) return exact;
    const fitting = [...this.#handlers.values()].filter((each) => matches(each.pattern, type));
    return fitting.sort((a, b) => compare(specificity(b.pattern), specificity(a.pattern)))[0];
  }

  /** Every pattern of the service's own. */
  patterns() {
    return [...this.#handlers.values()].filter((each) => !each.isBuiltIn).map((each) => each.pattern).sort();
  }

  /** Those that are plain message types. */
  types() {
    return this.patterns().filter(isMessageType);
  }
}

/** Run a handler. @throws {Reject} the source may not send it; the function was not called */
export async function call(handler, envelope) {
  if (handler.senders && !handler.senders.includes(envelope.source)) {
    throw new Reject(`${envelope.source} may not send ${envelope.type}`, 'forbidden');
  }
  return handler.run(envelope.data, envelope);
}

function specificity(pattern) {
  const words = pattern.split('.');
  return [-words.filter((word) => word === '#').length, words.filter((word) => word !== '*' && word !== '#').length];
}

function compare(a, b) {
  return a[0] - b[0] || a[1] - b[1];
}
