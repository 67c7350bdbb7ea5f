/** When to try a message again: the numbers of the Python library. */

/**
 * @typedef {object} RetryPolicy
 * @property {number} immediate attempts in place in each round, the first one included
 * @property {number} delayed rounds after the first; Infinity: for ever
 * @property {number} [baseSeconds] longest pause before the second round
 * @property {number} [factor] by which it grows with each round
 * @property {number} [capSeconds] no pause is longer
 * @property {number} [floorSeconds] no pause is shorter
 */
const DEFAULTS = { baseSeconds: 10, factor: 6, capSeconds: 300, floorSeconds: 1 };
const BY_PRIORITY = {
  LOW: { immediate: 1, delayed: 1 },
  NORMAL: { immediate: 3, delayed: 3 },
  HIGH: { immediate: 3, delayed: 6 },
  CRITICAL: { immediate: 3, delayed: Infinity },
};

/** @returns {Required<RetryPolicy>} what holds; CRITICAL is tried for ever, whatever the handler says */
export function policyOf(own, priority) {
  const policy = { ...DEFAULTS, ...BY_PRIORITY[priority], ...own };
  return priority === 'CRITICAL' ? { ...policy, delayed: Infinity } : policy;
}

/** @returns {number|undefined} the pause after a round's last attempt; undefined: it was the last */
export function delayAfter(policy, attempt) {
  const rounds = Math.floor((attempt - 1) / policy.immediate);
  if (rounds >= policy.delayed) return undefined;
  const longest = Math.min(policy.capSeconds, policy.baseSeconds * policy.factor ** Math.min(rounds, 64));
  // Full jitter: what failed together shall not come back together.
  return policy.floorSeconds + Math.random() * Math.max(0, longest - policy.floorSeconds);
}
