/**
 * The faults of a run, as data. Two sorts: what befalls a command (drawn at each command of each connection, so at every
 * await of the runtime on the transport), and what befalls a process or the server (drawn beforehand, each at its time).
 * Every fault has a name that the same seed gives again, so that a run can be repeated with some of them only: that is
 * how a failing seed shrinks.
 */
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'

export type CommandFault =
  /** The command waits on its way, and with it all that the connection sends after it. */
  | 'slow'
  /** It takes effect, and the answer never comes. */
  | 'lost-answer'
  /** It does not take effect, and the caller is told of an error; later commands of the connection go on. */
  | 'refused'
  /** The caller is told of an error, and much later the command takes effect all the same. */
  | 'late'
  /** It takes effect, is answered, and much later takes effect again. */
  | 'repeated'
  /** It takes effect twice in a row, and the second answer counts: a client library that sends again. */
  | 'resent'
  /** The connection breaks: what is under way gets no answer; a part of it takes effect, the rest never or much later. */
  | 'reset'

export const COMMAND_FAULTS: readonly CommandFault[] = [
  'slow',
  'lost-answer',
  'lost-answer',
  'refused',
  'late',
  'repeated',
  'resent',
  'reset',
]

export interface ProcessFault {
  readonly id: string
  readonly atMs: number
  readonly process: string
  readonly kind: 'crash' | 'pause' | 'partition' | 'leave' | 'rollback'
  /** How long a pause or a partition lasts, until a crashed node is started again, or how far a rollback goes back. */
  readonly forMs: number
  /** A crashed node comes back under its old name. */
  readonly sameName: boolean
}

/** What the draw of one command says: always, whether or not a fault comes of it. */
export interface Fate {
  readonly fault: CommandFault | null
  readonly requestMs: number
  readonly answerMs: number
  /** For what happens "much later", and for how slow "slow" is. */
  readonly laterMs: number
  /** A second draw in [0, 1), for faults that have a choice. */
  readonly choice: number
}

/** Draws the fate of each command of one connection. */
export class Fates {
  readonly #random: SeededRandom
  readonly #connection: string
  readonly #probability: () => number
  readonly #only: ReadonlySet<string> | null
  readonly #happened: (id: string, at: string) => void
  #count = 0

  constructor(options: {
    readonly seed: number
    readonly connection: string
    readonly probability: () => number
    /** When given, only these faults happen. */
    readonly only: ReadonlySet<string> | null
    readonly happened: (id: string, at: string) => void
  }) {
    this.#random = new SeededRandom(options.seed, 'fates', options.connection)
    this.#connection = options.connection
    this.#probability = options.probability
    this.#only = options.only
    this.#happened = options.happened
  }

  /** `command`: what the connection is asked for. */
  next(command: string): Fate {
    const random = this.#random
    const count = ++this.#count
    // As many draws each time, so that leaving a fault out changes no other.
    const luck = random.next()
    const kind = random.next()
    const requestMs = latencyMs(random.next())
    const answerMs = latencyMs(random.next())
    const laterMs = 20 * 400 ** random.next() // 20 ms to 8 s, short ones more often
    const choice = random.next()
    let fault: CommandFault | null = null
    if (luck < this.#probability()) {
      const drawn = COMMAND_FAULTS[Math.floor(kind * COMMAND_FAULTS.length)] ?? 'refused'
      const id = `${this.#connection}#${count}:${drawn}`
      if (this.#only === null || this.#only.has(id)) {
        fault = drawn
        this.#happened(id, `${command} ${drawn}`)
      }
    }
    return { fault, requestMs, answerMs, laterMs, choice }
  }
}

/** Mostly a fraction of a millisecond, now and then some tens. */
function latencyMs(draw: number): number {
  return draw < 0.97 ? 0.05 + draw * 0.8 : 1 + (draw - 0.97) * 1_000
}
