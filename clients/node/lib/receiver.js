/**
 * What becomes of one delivery, from the first look to the acknowledgement.
 *
 * Every delivery ends in one of: handled (and answered), a copy that waits in the broker for its
 * next attempt, a dead letter, a copy that something else answers for, an expired request nobody
 * waits for; or it goes back to the broker, because nothing of it is on record yet.
 */
import { Answering } from './answering.js';
import { decode, isExpired, TASK_NAME } from './envelope.js';
import { BadSignature, DecodeError, MessagingError, Reject, Retry, textOf } from './errors.js';
import { call } from './handlers.js';
import { tellOutcome } from './receipts.js';
import { delayAfter, policyOf } from './retry.js';
import { PAUSES, PERISHABLE } from './names.js';
import { setTimeout as sleep } from 'node:timers/promises';

/** A message that killed the process in so many runs is parked. */
const MAX_DEATHS = 3;
/** Clocks of sender and receiver may differ by so much, under custody. */
const EXPIRY_ALLOWANCE_SECONDS = 2;
/** For a copy that waits: copies of its sender's are dropped so long beyond its time. */
const GRACE_SECONDS = 60;
/** Before what could not be put on record goes back to the broker: it comes again at once. */
const GIVE_BACK_SECONDS = 1;

export class Receiver {
  #consumed = 0;
  /** By id: since when it runs here, and a promise that it has ended. */
  #running = new Map();

  /** @param {import('../bus.js').Bus} bus @param {import('./inbox.js').Inbox} inbox */
  constructor(bus, inbox) {
    this.bus = bus;
    this.inbox = inbox;
    this.answering = new Answering(bus);
  }

  /** What this process has in hand, as heartbeats carry it. */
  load() {
    const oldest = Math.min(Date.now(), ...[...this.#running.values()].map(({ beganAt }) => beganAt));
    return {
      consumed: this.#consumed,
      busy: this.#running.size,
      capacity: this.bus.concurrency,
      oldest_seconds: (Date.now() - oldest) / 1000,
      overdue: 0,
    };
  }

  /** Handle one delivery and settle it. Never throws. */
  async receive(delivery, channel) {
    this.#consumed += 1;
    try {
      await this.#handle(delivery);
    } catch (error) {
      this.bus.log.error(`a message could not be settled and goes back to the broker:`, error);
      await sleep(GIVE_BACK_SECONDS);
      settle(() => channel.nack(delivery));
      return;
    }
    settle(() => channel.ack(delivery));
  }

  async #handle(delivery) {
    let received;
    try {
      received = this.#read(delivery);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      if (error instanceof BadSignature && error.received) return this.bus.parking.parkUnproved(error.received, error);
      return this.bus.parking.parkRaw(delivery.content, delivery.properties, error.reason, error);
    }
    const { headers } = delivery.properties;
    const arrival = { redelivered: delivery.fields.redelivered, publishes: headers?.publishes ?? 0 };
    const began = Date.now();
    const error = await this.bus.during(received.envelope, () => this.#dispatch(received, arrival));
    this.bus.flow.note(received.envelope, (Date.now() - began) / 1000, error);
    return undefined;
  }

  #read({ content, properties }) {
    const { bus } = this;
    if (content.length > bus.maxMessageBytes) {
      throw new DecodeError(`${content.length} bytes, the limit is ${bus.maxMessageBytes}`, 'too_large');
    }
    const task = properties.headers?.task;
    if (task !== TASK_NAME) throw new DecodeError(`unknown task ${task}`);
    if (properties.contentType !== 'application/json') {
      throw new DecodeError(`content type ${properties.contentType} is not accepted`);
    }
    const received = decode(content, bus.keyring);
    if (bus.keyring.hasKeys && received.envelope.target && received.envelope.target !== bus.service) {
      const error = new BadSignature(`it was said to ${received.envelope.target}`);
      error.received = received;
      throw error;
    }
    return received;
  }

  /** @returns {Promise<string|undefined>} how it failed, as all below */
  async #dispatch(received, arrival) {
    const { envelope } = received;
    const handler = this.bus.handlers.find(envelope.type);
    if (envelope.kind === 'request') {
      return this.#alone(envelope.id, () => this.answering.answer(received, arrival, handler));
    }
    if (PERISHABLE.has(envelope.type)) return this.#perishable(envelope, handler);
    // Not subscribed: a binding of an older version.
    if (!handler && envelope.kind === 'event' && !envelope.custodian) return undefined;
    return this.#alone(envelope.id, () => {
      // What was sent straight to the broker, and comes for the first time, is the only copy there
      // is. Where messages are signed that is not taken for granted.
      const mayBeTwice = envelope.custodian || arrival.redelivered || arrival.publishes || this.bus.keyring.hasKeys;
      return (mayBeTwice ? this.#once : this.#firstTime).call(this, received, arrival, handler);
    });
  }

  /**
   * Run something when no other copy of the message runs here. After a lost connection the broker
   * brings again what still runs: acknowledged now, it would be nowhere should this process die.
   */
  async #alone(id, run) {
    while (this.#running.has(id)) await this.#running.get(id).ended;
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    this.#running.set(id, { beganAt: Date.now(), ended });
    try {
      return await run();
    } finally {
      this.#running.delete(id);
      end();
    }
  }

  /** Handle a message unless it was, by what the inbox remembers. */
  async #once(received, arrival, handler) {
    const { envelope } = received;
    const row = await this.inbox.find(envelope.id);
    const isReplay = row && row.generation < envelope.generation && row.state !== 'handled';
    if (row && !isReplay) {
      if (row.state === 'handled' || row.state === 'parked' || row.state === 'expired') {
        return this.#answerCopy(received, arrival, row);
      }
      if (row.state === 'waiting' && envelope.attempt < row.attempt && Date.now() < row.until) return undefined;
    }
    // On record before it runs: a process that dies of it cannot note that any more.
    const isUncounted = arrival.redelivered && !row && !envelope.custodian && !arrival.publishes;
    const runs = (isReplay ? 0 : (row?.runs ?? 0)) + (isUncounted ? 1 : 0);
    if (runs >= MAX_DEATHS) {
      return this.#giveUp(received, 'killed_worker', `its process died in ${runs} runs`, runs);
    }
    await this.inbox.keep(envelope.id, { generation: envelope.generation, state: 'running', runs: runs + 1 });
    return this.#firstTime(received, arrival, handler);
  }

  async #firstTime(received, _arrival, handler) {
    const { envelope } = received;
    if (isExpired(envelope, envelope.custodian ? EXPIRY_ALLOWANCE_SECONDS : 0)) {
      return this.#giveUp(received, 'expired', `expired at ${envelope.expires_at}`, 0);
    }
    if (!handler) {
      return this.#giveUp(received, 'no_handler', `${this.bus.service} has no handler for ${envelope.type}`, 0);
    }
    return this.#run(received, handler);
  }

  async #run(received, handler) {
    const { envelope } = received;
    const policy = policyOf(handler.retry, envelope.priority);
    for (let attempt = envelope.attempt; ; attempt += 1) {
      try {
        await call(handler, { ...envelope, attempt });
      } catch (error) {
        if (error instanceof Reject) {
          return this.#giveUp(received, error.code === 'invalid' ? 'invalid' : 'rejected', error.message, attempt);
        }
        if (!(error instanceof Retry)) {
          this.bus.log.warn(`${envelope.type} ${envelope.id}: attempt ${attempt} failed:`, error);
          if (attempt % policy.immediate !== 0) continue;
        }
        const delay = delayAfter(policy, attempt);
        if (delay === undefined) return this.#giveUp(received, 'attempts_exhausted', error, attempt);
        await this.#later(received, attempt + 1, error.delaySeconds ?? delay);
        return textOf(error);
      }
      await this.#end(received, 'handled');
      return undefined;
    }
  }

  /** Have the broker bring the message again after a pause, a little longer rather than shorter. */
  async #later(received, attempt, delaySeconds) {
    const { bus, inbox } = this;
    const { envelope } = received;
    const seconds = PAUSES.find((each) => each >= delaySeconds) ?? PAUSES.at(-1);
    await bus.publishPaused(envelope, received.bodyOfAttempt(attempt), seconds, attempt);
    // After the copy is there: a row that waits for nothing would drop the message.
    const until = Date.now() + (seconds + GRACE_SECONDS) * 1000;
    await inbox.keep(envelope.id, { generation: envelope.generation, state: 'waiting', attempt, until });
  }

  async #giveUp(received, reason, error, attempts) {
    await this.bus.parking.park(received, reason, error, { attempts });
    await this.#end(received, reason === 'expired' ? 'expired' : 'parked', textOf(error));
    return textOf(error);
  }

  async #end({ envelope }, state, reason = '') {
    await this.inbox.keep(envelope.id, { generation: envelope.generation, state, reason });
    await this.#tell(envelope, state, reason);
  }

  /** Tell a copy's custodian what became of the message: silence would make it repeat for ever. */
  async #answerCopy(received, arrival, row) {
    const { envelope } = received;
    if (envelope.custodian) {
      // Only what was given up is ever reopened, so that was the outcome of an earlier generation.
      const outcome = row.generation > envelope.generation ? 'parked' : row.state;
      return this.#tell(envelope, outcome, row.reason);
    }
    if (this.bus.keyring.hasKeys && !arrival.redelivered && !arrival.publishes) {
      const who = "by somebody who had seen it, or by its sender's connection, which broke";
      const text = `${row.state} already, and sent again: ${who}`;
      return this.bus.parking.park(received, 'bad_signature', text, { attempts: 0, mayHaveBeenHandled: true });
    }
    return undefined;
  }

  async #tell(envelope, outcome, reason) {
    if (!envelope.custodian) return;
    try {
      await tellOutcome(this.bus, envelope, outcome, reason);
    } catch (error) {
      if (!(error instanceof MessagingError)) throw error;
      // Its custodian sends the message again, and is answered from the inbox.
      this.bus.log.warn(`${envelope.custodian} was not told that ${envelope.id} is ${outcome}: ${error.message}`);
    }
  }

  async #perishable(envelope, handler) {
    if (isExpired(envelope) || !handler) return;
    try {
      await call(handler, envelope);
    } catch (error) {
      this.bus.log.warn(`${envelope.type} ${envelope.id} failed:`, error); // the next of its kind replaces it
    }
  }
}

/** Acknowledge or give back; on a channel that is gone the broker delivers it again by itself. */
function settle(act) {
  try {
    act();
  } catch (error) {
    if (error.name !== 'IllegalOperationError') throw error;
  }
}
