/**
 * What an owner remembers of its latest commits, so that it can say what is gone when the transport turns out to stand
 * lower than what it had acknowledged: a failover to a replica that lagged behind. Bounded: of commits older than the
 * last `commitsRememberedMax` it knows only that they were.
 */
import type { ActorAddress } from './address.ts'
import type { Line } from './message.ts'

/** A transition that was acknowledged and is gone. */
export interface LostTransition {
  readonly actor: ActorAddress
  /** The actor's own count of its transitions. */
  readonly seq: number
}

export interface Loss {
  readonly lost: readonly LostTransition[]
  /** Lost commits of which it is no longer known whom they concerned. */
  readonly forgotten: number
}

export class CommitLog {
  readonly #max: number
  #commits: { readonly seq: number; readonly lines: readonly Line[] }[] = []
  #newest: number

  /** `newest`: where the shard stood when it was claimed. */
  constructor(newest: number, max: number) {
    this.#newest = newest
    this.#max = max
  }

  /** The highest seq that was acknowledged. Whatever the transport says of a later moment must not be lower. */
  get newest(): number {
    return this.#newest
  }

  add(seq: number, lines: readonly Line[]): void {
    this.#newest = seq
    this.#commits.push({ seq, lines })
    // Cut by halves, so that a commit does not pay for moving all of them.
    if (this.#commits.length > 2 * this.#max) this.#commits = this.#commits.slice(-this.#max)
  }

  /** Forgets what is newer than `seq`, and says what that was. */
  cutTo(seq: number): Loss {
    const gone = this.#commits.filter((commit) => commit.seq > seq)
    const forgotten = this.#newest - seq - gone.length
    this.#commits = this.#commits.filter((commit) => commit.seq <= seq)
    this.#newest = seq
    return { lost: gone.flatMap(({ lines }) => lines.map((line) => ({ actor: line.actor, seq: line.seq }))), forgotten }
  }
}
