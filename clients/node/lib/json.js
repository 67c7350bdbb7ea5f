/**
 * JSON in which no number changes: read, written and written canonically.
 *
 * JSON.parse reads 1.0 as 1 and 2^53+1 as 2^53: a signature over what came would not fit any more,
 * and a copy that is passed on would say something else. So numbers keep their text in the tree
 * that `parse` returns: Map, Array, string, boolean, null or `NumberText`.
 */

/** Levels of objects and lists in a body; the Python library refuses more as well. */
const MAX_NESTING = 100;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;
const SURROGATE = /\p{Surrogate}/u;
const WORDS = { true: true, false: false, null: null };

/** A number as it was written. */
export class NumberText {
  constructor(text) {
    this.text = text;
  }

  /** @returns {number|bigint} a bigint where a number would be another one */
  plain() {
    const value = Number(this.text);
    return /^-?\d+$/.test(this.text) && !Number.isSafeInteger(value) ? BigInt(this.text) : value;
  }

  /** @returns {string} as Python writes the number it reads there */
  canonical() {
    if (/^-?\d+$/.test(this.text)) return BigInt(this.text).toString();
    return pythonFloat(Number(this.text));
  }
}

/**
 * Return the tree of a JSON text.
 * @throws {SyntaxError} it is none, or cannot be kept: halves of surrogate pairs, infinite numbers
 */
export function parse(text) {
  let at = 0;
  const fail = (what) => {
    throw new SyntaxError(`${what} at character ${at}`);
  };
  const take = (pattern) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at += match[0].length;
    return match;
  };
  const next = () => {
    take(SPACE);
    return text[at];
  };
  const string = () => {
    const match = take(STRING) ?? fail('no text');
    const found = JSON.parse(match[0]);
    return SURROGATE.test(found) ? fail('half of a surrogate pair') : found;
  };
  const list = (depth) => {
    const items = [];
    at += 1;
    if (next() === ']') return (at += 1), items;
    for (;;) {
      items.push(value(depth));
      const sign = next();
      at += 1;
      if (sign === ']') return items;
      if (sign !== ',') fail('expected , or ]');
    }
  };
  const object = (depth) => {
    const members = new Map();
    at += 1;
    if (next() === '}') return (at += 1), members;
    for (;;) {
      if (next() !== '"') fail('expected a name');
      const name = string();
      if (next() !== ':') fail('expected :');
      at += 1;
      members.set(name, value(depth));
      const sign = next();
      at += 1;
      if (sign === '}') return members;
      if (sign !== ',') fail('expected , or }');
    }
  };
  const value = (depth) => {
    const sign = next();
    if (sign === '"') return string();
    if (sign === '{' || sign === '[') {
      if (depth >= MAX_NESTING) fail(`nested deeper than ${MAX_NESTING} levels`);
      return (sign === '{' ? object : list)(depth + 1);
    }
    for (const [word, meant] of Object.entries(WORDS)) {
      if (text.startsWith(word, at)) return (at += word.length), meant;
    }
    const match = take(NUMBER) ?? fail('no JSON value');
    if (!Number.isFinite(Number(match[0])) && (match[1] || match[2])) fail('no number that can be kept');
    return new NumberText(match[0]);
  };
  const tree = value(0);
  if (next() !== undefined) fail('something follows');
  return tree;
}

/** Return the ordinary JavaScript value of a tree. */
export function plain(tree) {
  if (tree instanceof NumberText) return tree.plain();
  if (Array.isArray(tree)) return tree.map(plain);
  if (!(tree instanceof Map)) return tree;
  const found = {};
  for (const [name, value] of tree) {
    // Not by assignment: `__proto__` is a name like any other here.
    Object.defineProperty(found, name, { value: plain(value), enumerable: true, writable: true, configurable: true });
  }
  return found;
}

/**
 * Return the JSON text of a value or tree, without spaces.
 * @throws {TypeError} it has none: NaN, functions, halves of surrogate pairs
 */
export function write(value, depth = 0) {
  if (typeof value?.toJSON === 'function') value = value.toJSON();
  if (value === null || typeof value === 'boolean') return String(value);
  if (value instanceof NumberText) return value.text;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value === 'string' && !SURROGATE.test(value)) return JSON.stringify(value);
  const isObject = typeof value === 'object' && !(value instanceof Set);
  if (!isObject) throw new TypeError(`${typeof value === 'symbol' ? 'a symbol' : value} has no form in JSON`);
  if (depth >= MAX_NESTING) throw new TypeError(`nested deeper than ${MAX_NESTING} levels`);
  if (Array.isArray(value)) return `[${value.map((each) => write(each ?? null, depth + 1)).join(',')}]`;
  const members = value instanceof Map ? [...value] : Object.entries(value);
  const written = members.filter(([, each]) => each !== undefined);
  return `{${written.map(([name, each]) => `${write(name)}:${write(each, depth + 1)}`).join(',')}}`;
}

/** Return the text that is signed: sorted by code points, numbers as Python writes them. */
export function canonical(tree) {
  if (tree instanceof NumberText) return tree.canonical();
  if (Array.isArray(tree)) return `[${tree.map(canonical).join(',')}]`;
  if (!(tree instanceof Map)) return JSON.stringify(tree);
  const members = [...tree].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${canonical(value)}`).join(',')}}`;
}

/** Both languages write the shortest digits that read back as the same number; not in one form. */
function pythonFloat(number) {
  const sign = Object.is(number, -0) || number < 0 ? '-' : '';
  const [mantissa, power] = Math.abs(number).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    const shown = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${shown}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}
