/**
 * The history of a run: what clients asked for and heard, what effects ran, which faults happened, and what the server
 * saw. A running hash over all of it tells whether two runs were the same.
 */
import type { Commit, CommitOutcome } from '../../runtime/transport.ts'
import type { EffectRun } from './actors.ts'
import type { Operation } from './scenario.ts'

export type Outcome =
  | { readonly kind: 'pending' }
  /** A tell that is durable, or an ask whose transition is committed. */
  | { readonly kind: 'acknowledged'; readonly handled: boolean; readonly status: string }
  | { readonly kind: 'failed'; readonly code: string }

export interface Sent {
  readonly operation: Operation
  /** The client's own count of what it sent: its order. */
  readonly order: number
  readonly at: number
  outcome: Outcome
}

export class History {
  readonly sent: Sent[] = []
  readonly runs: EffectRun[] = []
  readonly faults: string[] = []
  /** How often each thing happened: faults by the command that they hit, and what the runtime told of itself. */
  readonly seen: Record<string, number> = {}
  readonly violations: string[] = []
  readonly #trace: string[] | null
  #hash = 0x811c9dc5
  readonly now: () => number

  constructor(now: () => number, traced: boolean) {
    this.now = now
    this.#trace = traced ? [] : null
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  get trace(): readonly string[] {
    return this.#trace ?? []
  }

  /** Everything that happens passes here, so that the hash covers it. */
  note(text: string): void {
    const line = `${this.now().toFixed(3)} ${text}`
    for (let i = 0; i < line.length; i++) this.#hash = Math.imul(this.#hash ^ line.charCodeAt(i), 0x01000193)
    this.#trace?.push(line)
  }

  /** Faults of commands are counted by the command that they hit. */
  fault(id: string, what = id.slice(Math.max(id.lastIndexOf(':'), id.lastIndexOf('!')) + 1)): void {
    this.faults.push(id)
    this.count(`fault ${what}`)
    this.note(`fault ${id}`)
  }

  count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1
  }

  violation(text: string): void {
    this.note(`VIOLATION ${text}`)
    this.violations.push(text)
  }

  commit(process: string, commit: Commit, outcome: CommitOutcome): void {
    const { shard, epoch, seq } = commit
    this.note(`commit ${process} shard ${shard} epoch ${epoch} seq ${seq} ${outcome.ok ? 'ok' : outcome.why}`)
  }
}
