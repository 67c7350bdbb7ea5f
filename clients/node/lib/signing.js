/** Who said it: HMAC-SHA256 over the canonical text, as docs/security.md says. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { BadSignature, ConfigurationError } from './errors.js';
import { isServiceName } from './names.js';
import { canonical } from './json.js';

const KEY = /^(?<id>[A-Za-z0-9_-]{1,40})(?:@(?<service>[^:]*))?:(?<secret>.+)$/;
const MIN_SECRET_LENGTH = 32;
/** Not signed: the signature itself, and the attempts, which a receiver counts on. */
const UNSIGNED = ['signature', 'attempt'];

/** The keys of one process: the first that may speak for a service signs, all of them check. */
export class Keyring {
  /**
   * @param {string} text `id:secret` or `id@service:secret`, by commas; empty: nothing is signed
   * @param {string} gateway the service that may speak for others
   * @param {string} [unsignedUntil] an ISO 8601 instant: what is not signed is believed until then
   * @throws {ConfigurationError} one of them is none; its text repeats no secret
   */
  constructor(text, gateway, unsignedUntil = '') {
    this.gateway = gateway;
    this.keys = new Map();
    this.unsignedUntil = unsignedUntil ? Date.parse(unsignedUntil) : -Infinity;
    if (Number.isNaN(this.unsignedUntil)) {
      throw new ConfigurationError(`unsignedUntil: expected an instant like 2026-12-01T00:00Z, got ${unsignedUntil}`);
    }
    for (const [number, entry] of text.split(/[,\s]+/).filter(Boolean).entries()) {
      const { id, service, secret } = KEY.exec(entry)?.groups ?? {};
      const isKey = id && secret.length >= MIN_SECRET_LENGTH && (service === undefined || isServiceName(service));
      if (!isKey || this.keys.has(id)) {
        throw new ConfigurationError(
          `signingKeys, key ${number + 1}: expected id:secret or id@service:secret with an id of its own and ` +
            `a secret of ${MIN_SECRET_LENGTH} characters at least`,
        );
      }
      this.keys.set(id, { id, service, secret });
    }
  }

  get hasKeys() {
    return this.keys.size > 0;
  }

  /** @returns the key that a service signs with @throws {ConfigurationError} none may speak for it */
  keyOf(speaker) {
    for (const key of this.keys.values()) {
      if (key.service === undefined || key.service === speaker) return key;
    }
    throw new ConfigurationError(`signingKeys: none of the keys may speak for ${speaker}`);
  }

  /** @param {string} what `message` or `custody` @param {Map} said a tree @param {string} speaker */
  sign(what, said, speaker) {
    const key = this.keyOf(speaker);
    return `${key.id}:${digest(key, what, said)}`;
  }

  /** @throws {BadSignature} nobody can tell that this service said it */
  check(what, said, speaker) {
    const signature = said.get('signature');
    if (typeof signature !== 'string' || !signature) {
      if (Date.now() < this.unsignedUntil) return;
      throw new BadSignature('it is not signed');
    }
    const [id, ...rest] = signature.split(':');
    const key = this.keys.get(id);
    if (!key) throw new BadSignature(`signed with key ${id.slice(0, 50)}, which is not known here`);
    if (key.service !== undefined && key.service !== speaker) {
      throw new BadSignature(`key ${id} may not speak for ${speaker}`);
    }
    const [given, expected] = [Buffer.from(rest.join(':')), Buffer.from(digest(key, what, said))];
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new BadSignature(`the signature does not fit: altered, or not by key ${id}`);
    }
  }

  /** @returns {string} who signs: the source, or the gateway where that answers for it */
  speakerOf(source, custodian) {
    if (!custodian || custodian === source) return source;
    if (custodian !== this.gateway) throw new BadSignature(`${custodian} may not speak for ${source}`);
    return custodian;
  }
}

function digest(key, what, said) {
  const signed = new Map([...said].filter(([name]) => !UNSIGNED.includes(name)));
  return createHmac('sha256', key.secret).update(`${what}\n${canonical(signed)}`).digest('hex');
}
