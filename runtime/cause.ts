/**
 * What follows from a message is named after it. A send's id, a timer's and an effect's are hashes of what caused them:
 * the id of the message whose transition asked for it, and what it asked for. So the same message run again, after a
 * failover has lost its first run, makes the same ids, whatever ran before it: a receiver can tell that it has taken a
 * send already, and the world outside that an effect's idempotency key has come before.
 *
 * A message goes to one actor, so its id stands for the actor too. 60 bits: ids are compared among some thousands (what
 * one receiver took from one source lately), where a collision is out of reach.
 */

/** 6 bits each. */
const DIGITS = new Uint8Array(
  Array.from('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-', (c) => c.charCodeAt(0)),
)
const SEPARATOR = 0x1f

/**
 * The id of the `k`-th of those things that a cause asks for in the same words: a message of this type to this actor, a
 * timer or an effect of this name. Ten characters of `A–Z a–z 0–9 _ -`.
 */
export function idFrom(cause: string, what: string, which: string, k: number): string {
  // Two lanes of multiply and xor, as in cyrb53 (bryc), each fed with every character.
  let a = 0xdeadbeef ^ k
  let b = 0x41c6ce57 ^ k
  for (let part = 0; part < 3; part++) {
    const text = part === 0 ? cause : part === 1 ? what : which
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      a = Math.imul(a ^ code, 0x9e3779b1)
      b = Math.imul(b ^ code, 0x5f356495)
    }
    a = Math.imul(a ^ SEPARATOR, 0x9e3779b1)
    b = Math.imul(b ^ SEPARATOR, 0x5f356495)
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
  return String.fromCharCode(
    digit(a),
    digit(a >>> 6),
    digit(a >>> 12),
    digit(a >>> 18),
    digit(a >>> 24),
    digit(b),
    digit(b >>> 6),
    digit(b >>> 12),
    digit(b >>> 18),
    digit(b >>> 24),
  )
}

function digit(bits: number): number {
  return DIGITS[bits & 63] as number // six bits: within the table
}
