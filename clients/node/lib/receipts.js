/** Receipts: telling a custodian what became of a message that it answers for. */
import { bodyOf, newId } from './envelope.js';
import { parse, write } from './json.js';

const EXPIRES_SECONDS = 86_400;

/**
 * Tell an outcome. On return the broker has it.
 *
 * Only what has ended is ever told: `accepted` would say that this service has the message on disk,
 * and its sender would not send it again.
 * @param {import('../bus.js').Bus} bus
 * @param {import('./envelope.js').Envelope} envelope
 * @param {'handled'|'parked'|'expired'} outcome
 */
export async function tellOutcome(bus, envelope, outcome, reason = '') {
  const data = { service: bus.service, entries: [[envelope.id, envelope.generation, outcome, reason]] };
  if (bus.keyring.hasKeys) data.signature = bus.keyring.sign('custody', parse(write(data)), bus.service);
  const queue = bus.topology.custodyQueue(envelope.custodian);
  await bus.broker.publish({
    routingKey: queue.name,
    queue,
    mandatory: true,
    body: bodyOf(write(data)),
    properties: {
      deliveryMode: 2,
      expiration: String(EXPIRES_SECONDS * 1000),
      priority: 0,
      headers: { lang: 'js', task: 'messaging.receipt', id: newId(), ignore_result: true },
    },
  });
}
