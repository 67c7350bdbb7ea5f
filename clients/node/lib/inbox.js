/**
 * What a service remembers of messages it has had, so that a second copy is not handled again.
 *
 * An application may bring its own, in a database that all instances share:
 *
 * @typedef {object} Row
 * @property {number} generation
 * @property {'running'|'waiting'|'handled'|'parked'|'expired'} state
 * @property {number} [runs] begun and not ended
 * @property {number} [attempt] that it waits for
 * @property {number} [until] milliseconds since 1970: other copies are dropped until then
 * @property {string} [reason] why it was given up
 *
 * @typedef {object} Inbox
 * @property {(id: string) => Promise<Row|undefined>|Row|undefined} find
 * @property {(id: string, row: Row) => Promise<void>|void} keep on return it is as safe as it will be
 */
import fs from 'node:fs';
import { ConfigurationError } from './errors.js';

const REMEMBERED = 100_000;
/** As long as the Python library remembers: a custodian may ask for so long. */
const REMEMBER_DAYS = 30;
/** Lines that say nothing any more, before the file is written anew. */
const MOST_STALE = 10_000;

/** In memory: a start later, or in another instance, a copy is handled again. */
export class MemoryInbox {
  #rows = new Map();

  find(id) {
    return this.#rows.get(id);
  }

  keep(id, row) {
    this.#rows.delete(id);
    this.#rows.set(id, row);
    if (this.#rows.size > REMEMBERED) this.#rows.delete(this.#rows.keys().next().value);
  }
}

/**
 * A file of JSON lines, for one process at a time: what has ended is on disk before it is told, and
 * remembered over starts. It says nothing of what other instances have handled.
 */
export class FileInbox {
  #rows = new Map();
  #lines = 0;
  #file;

  /** @param {string} path @throws {ConfigurationError} another process uses it, or it cannot be read */
  constructor(path) {
    this.path = path;
    this.#lock();
    this.#load();
    this.#writeAnew();
  }

  find(id) {
    return this.#rows.get(id);
  }

  keep(id, row) {
    const kept = { id, at: Date.now(), ...row };
    this.#rows.set(id, kept);
    fs.writeFileSync(this.#file, `${JSON.stringify(kept)}\n`);
    this.#lines += 1;
    if (row.state !== 'running') fs.fdatasyncSync(this.#file);
    if (this.#lines > this.#rows.size + MOST_STALE) this.#writeAnew();
  }

  close() {
    fs.closeSync(this.#file);
    fs.rmSync(`${this.path}.pid`, { force: true });
  }

  #lock() {
    const file = `${this.path}.pid`;
    const other = fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8')) : 0;
    if (other && other !== process.pid && isAlive(other)) {
      throw new ConfigurationError(`inbox ${this.path}: process ${other} uses it; give each process a file of its own`);
    }
    fs.writeFileSync(file, String(process.pid));
  }

  #load() {
    if (!fs.existsSync(this.path)) return;
    const lines = fs.readFileSync(this.path, 'utf8').split('\n');
    // The last one has no end where a process was killed while it wrote: nothing was told of it.
    lines.pop();
    const oldest = Date.now() - REMEMBER_DAYS * 86_400_000;
    for (const [number, line] of lines.entries()) {
      let row;
      try {
        row = JSON.parse(line);
      } catch (error) {
        throw new ConfigurationError(`inbox ${this.path}, line ${number + 1}: expected JSON: ${error.message}`);
      }
      if (row.at >= oldest) this.#rows.set(row.id, row);
    }
  }

  #writeAnew() {
    const other = `${this.path}.new`;
    const file = fs.openSync(other, 'w', 0o600);
    fs.writeFileSync(file, [...this.#rows.values()].map((row) => `${JSON.stringify(row)}\n`).join(''));
    fs.fdatasyncSync(file);
    fs.closeSync(file);
    fs.renameSync(other, this.path);
    if (this.#file !== undefined) fs.closeSync(this.#file);
    this.#file = fs.openSync(this.path, 'a');
    this.#lines = this.#rows.size;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
  return true;
}
