/**
 * A service of its own in Node: it ships parcels.
 *
 *     BROKER_URL=amqp://… node clients/node/example.js
 */
import { Bus, FileInbox, Reject } from './bus.js';

const inbox = process.env.SHIPPING_INBOX ? new FileInbox(process.env.SHIPPING_INBOX) : undefined;
const bus = Bus.fromEnvironment({ service: 'shipping-service', version: '1.0.0', inbox });

// A request: what is returned is the answer.
bus.on('parcel.price', ({ kilos }) => {
  if (!(kilos > 0)) throw new Reject('kilos: expected a weight', 'invalid');
  return { cents: 490 + 110 * Math.ceil(kilos) };
});

// A command: asks another service, and tells everybody.
bus.on('parcel.ship', async ({ userId }, message) => {
  const user = await bus.request('user-service', 'get.user.details', { userId }, { timeout: 5 });
  await bus.broadcast('parcel.shipped', { userId, to: user, order: message.id }, { priority: 'HIGH' });
});

// An event that others broadcast.
bus.on('document.created', (data, message) => bus.log.info(`${message.source} has made document ${data.documentId}`));

await bus.start();
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => bus.stop());
