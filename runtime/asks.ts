/**
 * The asks of a client that wait for their answers. Answers come as fleeting signals, so each ask has a deadline; one
 * sleep serves all of them, to the earliest. An ask ends once: by its answer, its deadline, its signal, or because its
 * message could not be delivered.
 */
import type { ActorAddress } from './address.ts'
import { Bell } from './bell.ts'
import type { Answer } from './client.ts'
import type { Clock } from './clock.ts'
import { RuntimeError } from './errors.ts'
import type { Fault } from './errors.ts'
import type { Reply } from './message.ts'

export interface Question {
  readonly id: string
  readonly to: ActorAddress
  readonly type: string
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

interface Open extends Question {
  readonly deadline: number
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

export class Asks {
  readonly #clock: Clock
  readonly #bell: Bell
  readonly #open = new Map<string, Open>()
  readonly #abort = new AbortController()
  #earliest = Infinity
  #watching = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#bell = new Bell(clock)
  }

  /** Resolves with the answer. Throws `ask.timeout`, what the owner said is wrong, or the signal's reason. */
  async open(question: Question): Promise<Answer> {
    const { id, timeoutMs, signal } = question
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const deadline = this.#clock.now() + timeoutMs
    this.#open.set(id, { ...question, deadline, resolve, reject })
    if (deadline < this.#earliest) {
      this.#earliest = deadline
      this.#bell.ring()
    }
    if (!this.#watching) void this.#watch()
    if (signal === undefined) return promise
    const giveUp = (): void => this.fail(id, signal.reason as Error) // what an AbortSignal rejects with is its reason
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  isOpen(id: string): boolean {
    return this.#open.has(id)
  }

  settle(reply: Reply): void {
    const asked = this.#open.get(reply.id)
    if (asked === undefined) return
    this.#open.delete(reply.id)
    if ('answer' in reply) asked.resolve(reply.answer)
    else asked.reject(faultError(reply.fault))
  }

  fail(id: string, error: Error): void {
    const asked = this.#open.get(id)
    if (asked === undefined) return
    this.#open.delete(id)
    asked.reject(error)
  }

  stop(): void {
    this.#abort.abort()
    const error = new RuntimeError('client.stopped', 'This client has been stopped', { remedy: 'give-up' })
    for (const id of this.#open.keys()) this.fail(id, error)
  }

  /** Runs while there are open asks. */
  async #watch(): Promise<void> {
    this.#watching = true
    while (this.#open.size > 0 && !this.#abort.signal.aborted) {
      await this.#bell.wait(this.#earliest - this.#clock.now(), this.#abort.signal)
      const now = this.#clock.now()
      if (now < this.#earliest) continue
      this.#earliest = Infinity
      for (const [id, asked] of this.#open) {
        if (asked.deadline <= now) this.fail(id, unanswered(asked))
        else this.#earliest = Math.min(this.#earliest, asked.deadline)
      }
    }
    this.#earliest = Infinity
    this.#watching = false
  }
}

function unanswered({ to, type, timeoutMs }: Question): RuntimeError {
  return new RuntimeError('ask.timeout', `${to} did not answer "${type}" within ${timeoutMs} ms`, {
    remedy: 'retry',
    data: { actor: to, event: type, timeoutMs },
  })
}

function faultError(fault: Fault): RuntimeError {
  return new RuntimeError(fault.code as RuntimeError['code'], fault.message, {
    remedy: fault.remedy,
    ...(fault.data !== undefined && { data: fault.data }),
  })
}
