/**
 * What this process handles, added up by second, source and type; heartbeats carry it to the map.
 *
 * Durations are counted in buckets, four for each doubling, as the Python library counts them.
 */
import { PERISHABLE } from './names.js';

/** Kept until they are taken; what has no room is counted without its source and type. */
const MOST_ROWS = 300;
/** As JSON, of one heartbeat: well below the limit of a message. */
const MOST_TAKEN_CHARACTERS = 40_000;
const MOST_ERROR_CHARACTERS = 200;
const PER_DOUBLING = 4;
const SMALLEST = -12 * PER_DOUBLING;
const LARGEST = 18 * PER_DOUBLING - 1;

export class Flow {
  #rows = new Map();

  /** Count one delivery. @param {number} seconds its handler took @param {string} [error] how it failed */
  note(envelope, seconds, error) {
    if (PERISHABLE.has(envelope.type)) return; // the bus talks to itself
    const row = this.#row(envelope);
    const sinceSent = (Date.now() - Date.parse(envelope.created_at)) / 1000;
    row.count += 1;
    count(row.waiting, sinceSent - seconds);
    count(row.handling, seconds);
    if (error) {
      row.failures += 1;
      row.last_error = error.replace(/\p{Surrogate}|\0/gu, '\uFFFD').slice(0, MOST_ERROR_CHARACTERS);
    } else {
      count(row.total, sinceSent);
    }
  }

  /** Return rows and forget them; of seconds that are over, at the end of this process all of them. */
  take(isLast = false) {
    const present = Math.floor(Date.now() / 1000) + (isLast ? 1 : 0);
    const taken = [];
    let characters = 0;
    for (const [key, row] of this.#rows) {
      if (row.at >= present) break;
      const { failures, last_error, ...all } = row;
      const said = { ...all, waiting: [...row.waiting], handling: [...row.handling], total: [...row.total] };
      if (failures) Object.assign(said, { failures, last_error });
      characters += JSON.stringify(said).length;
      if (characters > MOST_TAKEN_CHARACTERS) break;
      this.#rows.delete(key);
      taken.push(said);
    }
    return taken;
  }

  #row({ source, type, kind, priority }) {
    const at = Math.floor(Date.now() / 1000);
    const key = JSON.stringify([at, source, type, kind, priority]);
    const found = this.#rows.get(key);
    if (found) return found;
    if (this.#rows.size >= MOST_ROWS && type) return this.#row({ source: '', type: '', kind, priority });
    const row = { at, source, type, kind, priority, count: 0, failures: 0, last_error: '' };
    Object.assign(row, { waiting: new Map(), handling: new Map(), total: new Map() });
    this.#rows.set(key, row);
    return row;
  }
}

function count(histogram, seconds) {
  const bucket = bucketOf(seconds);
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + 1);
}

export function bucketOf(seconds) {
  if (!(seconds > 0)) return SMALLEST;
  const power = Math.floor(Math.log2(seconds));
  const part = Math.floor((seconds / 2 ** power - 1) * PER_DOUBLING);
  return Math.min(LARGEST, Math.max(SMALLEST, (power + 1) * PER_DOUBLING + part));
}
