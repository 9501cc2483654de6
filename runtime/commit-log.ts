/**
 * What an owner remembers of its latest commits, so that it can say what is gone when the transport turns out to stand
 * lower than what it had acknowledged: a failover to a replica that lagged behind. Bounded in commits and in transitions,
 * since one commit may have hundreds: of what is older it knows only that it was.
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

interface Remembered {
  readonly seq: number
  readonly lines: readonly Line[]
}

const FORGOTTEN: Remembered = { seq: 0, lines: [] }

export interface CommitLogLimits {
  readonly commitsRememberedMax: number
  readonly transitionsRememberedMax: number
}

export class CommitLog {
  readonly #limits: CommitLogLimits
  /** From `#oldest` on. */
  #commits: Remembered[] = []
  #oldest = 0
  #transitions = 0
  #newest: number

  /** `newest`: where the shard stood when it was claimed. */
  constructor(newest: number, limits: CommitLogLimits) {
    this.#newest = newest
    this.#limits = limits
  }

  /** The highest seq that was acknowledged. Whatever the transport says of a later moment must not be lower. */
  get newest(): number {
    return this.#newest
  }

  add(seq: number, lines: readonly Line[]): void {
    this.#newest = seq
    this.#commits.push({ seq, lines })
    this.#transitions += lines.length
    const { commitsRememberedMax, transitionsRememberedMax } = this.#limits
    while (
      this.#commits.length - this.#oldest > commitsRememberedMax ||
      (this.#transitions > transitionsRememberedMax && this.#oldest < this.#commits.length - 1)
    ) {
      this.#transitions -= this.#commits[this.#oldest]?.lines.length ?? 0
      this.#commits[this.#oldest++] = FORGOTTEN
    }
    // Cut by halves, so that a commit does not pay for moving all of them.
    if (this.#oldest > commitsRememberedMax) this.#hold(this.#commits.slice(this.#oldest))
  }

  /** Forgets what is newer than `seq`, and says what that was. */
  cutTo(seq: number): Loss {
    const known = this.#commits.slice(this.#oldest)
    const gone = known.filter((commit) => commit.seq > seq)
    const forgotten = this.#newest - seq - gone.length
    this.#hold(known.filter((commit) => commit.seq <= seq))
    this.#newest = seq
    return { lost: gone.flatMap(({ lines }) => lines.map((line) => ({ actor: line.actor, seq: line.seq }))), forgotten }
  }

  #hold(commits: Remembered[]): void {
    this.#commits = commits
    this.#oldest = 0
    this.#transitions = commits.reduce((sum, { lines }) => sum + lines.length, 0)
  }
}
