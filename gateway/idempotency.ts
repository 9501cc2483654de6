/**
 * `Idempotency-Key`: the job's id is derived from the owner and the key, so that sending the same request again brings
 * the same actor to life, which is what it is already. No table of keys exists that could be lost or disagree.
 */
import { GatewayError } from './problems.ts'

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const ID_CHARS = 26

/** The job id of this owner's key: it looks as those do that are made anew, 26 characters of Crockford's base 32. */
export async function jobIdOf(owner: string, key: string): Promise<string> {
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw new GatewayError('request.invalid', 'Cannot use this Idempotency-Key: expected 1 to 200 printable characters')
  }
  return idOf([owner, key])
}

/** An id that follows from these words: any text may be in them, and none of it ever reaches a key. */
export async function idOf(words: readonly string[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(words))
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest.subarray(0, ID_CHARS), (byte) => CROCKFORD.charAt(byte % 32)).join('')
}

/** A model as it was asked for: an alias may have moved since, and what it was for the job is what was meant. */
export function sameModel(stored: string, asked: string): string {
  const isExact = /@\d+$/.test(asked)
  return !isExact && stored.split('@')[0] === asked.split('@')[0] ? stored : asked
}

/** Whether two JSON values are the same, whatever the order of their fields. */
export function isSameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const left = Object.entries(a).filter(([, value]) => value !== undefined)
  const right = new Map<string, unknown>(Object.entries(b).filter(([, value]) => value !== undefined))
  return left.length === right.size && left.every(([key, value]) => right.has(key) && isSameJson(value, right.get(key)))
}
