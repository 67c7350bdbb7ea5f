/**
 * A service in Node whose handlers write down what they do, as tests/support/probe.py is one in Python.
 *
 * PROBE_SERVICE names it, PROBE_JOURNAL is its file; with PROBE_HANGS the handler of `hang` never ends.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus, FileInbox, Reject, Retry } from '../../clients/node/bus.js';

const { PROBE_SERVICE, PROBE_JOURNAL, PROBE_HANGS, PROBE_URL } = process.env;
const bus = Bus.fromEnvironment({
  service: PROBE_SERVICE,
  version: '1.2.3',
  inbox: new FileInbox(`${PROBE_JOURNAL}.inbox`),
  checks: () => ({ warehouse: { ok: true, text: '' } }),
  ...(PROBE_URL && { url: PROBE_URL }),
});
const note = (fields) => appendFileSync(PROBE_JOURNAL, `${JSON.stringify({ pid: process.pid, ...fields })}\n`);

function record(data, { id, type, attempt, priority, correlation_id, causation_id, headers }) {
  note({ event: 'handled', id, type, data, attempt, priority, correlation_id, causation_id, headers });
}

bus.on('work', record);
bus.on('topic.*.end', record);
bus.on('echo', (data) => data);
bus.on('reject', () => {
  throw new Reject('this will never do', 'not_found');
});
bus.on('again', (data, message) => {
  note({ event: 'attempt', id: message.id, attempt: message.attempt });
  if (message.attempt === 1) throw new Retry(0.5);
  record(data, message);
});
bus.on(
  'fail.twice',
  (data, message) => {
    note({ event: 'attempt', id: message.id, attempt: message.attempt });
    if (message.attempt < 3) throw new Error('not yet');
    record(data, message);
  },
  { retry: { immediate: 1, delayed: 2, baseSeconds: 1, factor: 1 } },
);
bus.on(
  'fail',
  (data, message) => {
    note({ event: 'attempt', id: message.id, attempt: message.attempt });
    if (!data.works) throw new RangeError('no such parcel');
  },
  { retry: { immediate: 2, delayed: 0 } },
);
bus.on('hang', async (data, message) => {
  note({ event: 'begun', id: message.id });
  if (PROBE_HANGS) await new Promise(() => {});
  record(data, message);
});
bus.on('slow', async (data, message) => {
  note({ event: 'begun', id: message.id });
  await sleep(data.seconds * 1000);
  record(data, message);
});
bus.on('die', (data, message) => {
  note({ event: 'begun', id: message.id });
  process.kill(process.pid, 'SIGKILL');
});
bus.on('of.friends', () => 'for friends', { senders: ['friend'] });
bus.on('send', ({ target, type, data, options }) => bus.send(target, type, data, options));
bus.on('broadcast', ({ type, data, options }) => bus.broadcast(type, data, options));
bus.on('ask', ({ target, type, data, options }) => bus.request(target, type, data, options));

await bus.start();
note({ event: 'ready' });
process.once('SIGTERM', () => bus.stop());
