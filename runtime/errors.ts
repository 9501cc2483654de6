/**
 * The runtime's errors. Each has a stable `code` (API: never renamed), a sentence for a person, the data that
 * explains it, and a `remedy`: what the caller can do about it.
 */
export type Remedy = 'retry' | 'retry-elsewhere' | 'fix-request' | 'give-up'

export type RuntimeErrorCode =
  | 'address.malformed'
  | 'actor.unknown' // no such actor, or it has been retired
  | 'actor.kind-unknown' // no definition for this kind in this process
  | 'actor.version-unknown' // the snapshot is of a version that this code cannot read
  | 'actor.done' // the actor has reached its final state and takes no more messages
  | 'ask.timeout' // no answer before the deadline; the message may still be processed
  | 'chart.invalid' // the machine breaks a rule that durability needs
  | 'child.failed' // a child escalated, and the chart has no transition for that
  | 'client.stopped'
  | 'effect.lost' // the process that ran this effect is gone, and nobody else may run it
  | 'effect.failed'
  | 'effect.poisonous' // it has ended the process of every owner that ran it
  | 'envelope.malformed'
  | 'envelope.too-large'
  | 'letter.malformed' // not an id of a dead letter
  | 'letter.unsendable' // a dead letter that says nothing which could be sent
  | 'mailbox.full' // BUSY
  | 'message.poisonous' // it has ended the process of every owner that took it
  | 'query.invalid' // what was looked for is malformed
  | 'redis.address-malformed'
  | 'redis.too-old'
  | 'redis.unreachable'
  | 'schedule.invalid'
  | 'schedule.too-many' // the actor has as many scheduled tells as it may
  | 'shard.fenced' // somebody else owns the shard now
  | 'shard.gone' // a pinned shard whose actor has been retired
  | 'transition.failed' // the chart threw

export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly code: RuntimeErrorCode
  readonly remedy: Remedy
  readonly data: Readonly<Record<string, unknown>>

  constructor(
    code: RuntimeErrorCode,
    message: string,
    options: { remedy: Remedy; data?: Readonly<Record<string, unknown>>; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.remedy = options.remedy
    this.data = options.data ?? {}
  }
}

/** An error as it travels in messages and snapshots. */
export interface Fault {
  readonly code: string
  readonly message: string
  readonly remedy: Remedy
  readonly data?: Readonly<Record<string, unknown>> | undefined
}

/** Turns anything thrown into a fault; what carries its own `code` and `remedy` keeps them. */
export function faultOf(error: unknown, fallbackCode: string): Fault {
  if (error instanceof Error) {
    const { code, remedy, data } = error as Error & Partial<Fault> // read as unknown fields, checked below
    return {
      code: typeof code === 'string' ? code : fallbackCode,
      message: error.message.slice(0, MESSAGE_LENGTH_MAX),
      remedy: isRemedy(remedy) ? remedy : 'retry',
      ...(isSmallJson(data) && { data }),
    }
  }
  return { code: fallbackCode, message: String(error).slice(0, MESSAGE_LENGTH_MAX), remedy: 'retry' }
}

/** Whoever throws, and whatever: a fault must fit into messages, records and dead letters. */
const MESSAGE_LENGTH_MAX = 4_000
const DATA_LENGTH_MAX = 16_000

function isSmallJson(data: unknown): data is Readonly<Record<string, unknown>> {
  if (typeof data !== 'object' || data === null) return false
  try {
    return JSON.stringify(data).length <= DATA_LENGTH_MAX
  } catch {
    return false // a bigint, a cycle
  }
}

function isRemedy(value: unknown): value is Remedy {
  return value === 'retry' || value === 'retry-elsewhere' || value === 'fix-request' || value === 'give-up'
}
