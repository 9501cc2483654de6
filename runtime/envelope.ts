/**
 * The envelope: a message as it stands in a mailbox, and how it is written there.
 * Types that begin with `@` are the runtime's own; all others are events of charts.
 */
import type { ActorAddress } from './address.ts'
import { RuntimeError } from './errors.ts'
import { LIMITS } from './limits.ts'

/** `hi` is the control lane: it is read first and knows no cap. */
export type Lane = 'hi' | 'in'

export interface Envelope {
  /** Of an actor's send: derived from its cause (`cause.ts`). */
  readonly id: string
  readonly to: ActorAddress
  readonly from?: ActorAddress
  readonly type: string
  /** The event without its type. */
  readonly data?: Readonly<Record<string, unknown>>
  readonly sentAt: number
  /** What made the actor send it: the id of a message, of a timer or of an effect. Absent on what a client sends. */
  readonly cause?: string
  /** W3C traceparent of the sender. */
  readonly trace?: string
  /** Where the answer to an ask goes: a client's channel, and `id` names the ask. */
  readonly replyTo?: string
  /** After this time nobody waits for the answer any more. */
  readonly deadline?: number
}

/** The runtime's own words. What follows from each is the planner's business. */
export const SPAWN = '@spawn'
export const WATCH = '@watch'
export const UNWATCH = '@unwatch'
export const ENDED = '@ended'
export const CHILD_FAILED = '@child.failed'
export const SCHEDULE = '@schedule'
export const UNSCHEDULE = '@unschedule'
/** What an owner made itself (a due timer, an effect's result), sent again from the dead letters. */
export const AGAIN = '@again'

export function encodeEnvelope(envelope: Envelope): string {
  const text = JSON.stringify(envelope)
  if (text.length > LIMITS.envelopeBytesMax) {
    throw new RuntimeError(
      'envelope.too-large',
      `A message "${envelope.type}" to ${envelope.to} has ${text.length} characters: at most ${LIMITS.envelopeBytesMax} fit; put large data into a blob`,
      { remedy: 'fix-request', data: { to: envelope.to, type: envelope.type, length: text.length } },
    )
  }
  return text
}

/** Throws `envelope.malformed` on anything that the runtime did not write. */
export function decodeEnvelope(text: string): Envelope {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw malformed(text, cause)
  }
  const { to, type, id } = (value ?? {}) as Partial<Envelope> // fields read as unknown, checked on the next line
  if (typeof to !== 'string' || typeof type !== 'string' || typeof id !== 'string') throw malformed(text)
  return value as Envelope
}

function malformed(text: string, cause?: unknown): RuntimeError {
  return new RuntimeError('envelope.malformed', `Cannot read a message: it is not an envelope`, {
    remedy: 'give-up',
    data: { text: text.slice(0, 200) },
    cause,
  })
}
