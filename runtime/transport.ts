/**
 * The transport: everything that the runtime asks of Redis, as one contract with two implementations
 * (`transports/redis.ts`, `transports/memory.ts`) and one suite (`tests/contracts/transport.ts`).
 *
 * Its invariants, on which all promises of the runtime rest:
 * T1. `commit` is atomic, and changes nothing unless `epoch` and `seq` are the shard's own.
 * T2. `claim` hands out an epoch that was never handed out before, and at once makes the former one stale.
 * T3. `deliver` takes each (source, seq) once, in order of seq.
 *     Of a batch that does not fit, it takes as many as do, from the first on: nobody overtakes who was refused.
 * T4. Entries of a lane are read in the order in which they were added.
 * T5. Commands of one shard take effect in the order in which they were issued, unless one of them throws.
 * T6. A send that its source makes again, since a failover of the source alone has lost the first one, is taken once:
 *     ids tell (`cause.ts`), within the last `takenRememberedMax` sends.
 * T7. A commit that takes what its lanes do not hold changes nothing: a failover has lost mail that the owner had read,
 *     and what that mail brought about must not outlive it.
 */
import type { ActorAddress, ShardName } from './address.ts'
import type { Lane } from './envelope.ts'

/** How far the owner has taken each lane: ids of the last entries taken. */
export interface Cursor {
  readonly hi: string
  readonly in: string
}

export const CURSOR_START: Cursor = { hi: '0-0', in: '0-0' }

export interface Entry {
  readonly id: string
  readonly lane: Lane
  /** An encoded envelope. */
  readonly body: string
}

/** What a new owner needs to know to go on. */
export interface Claim {
  readonly epoch: string
  readonly seq: number
  readonly cursor: Cursor
  readonly outSeq: number
  /** Higher than at any claim before: after a rollback seqs come again, and must not be taken for sends already seen. */
  readonly incarnation: number
  /** Where this claim and those before it stood: `lineage.ts`. */
  readonly lineage: string
  /** How many owners before, one after the other, have ended soon after their claim without giving it back. */
  readonly crashes: number
  /** What the last of them was trying (care.ts), '' for nothing. */
  readonly trial: string
  /** How many commits that one has made, if it has crashed. */
  readonly made: number
}

export interface ClaimRequest {
  readonly owner: string
  readonly ttlMs: number
  readonly nonce: string
  /** The owner claims once more what it had: it has not crashed. */
  readonly anew: boolean
  /** How soon after its claim an owner ends when that counts as a crash. */
  readonly crashWindowMs: number
}

export interface OutboxEntry {
  readonly seq: number
  readonly incarnation: number
  /** Of the envelope in `body`. */
  readonly id: string
  readonly shard: ShardName
  readonly lane: Lane
  readonly body: string
}

/** A timer as it waits in the shard; `id` is unique among the shard's timers. */
export interface TimerEntry {
  readonly actor: ActorAddress
  readonly name: string
  readonly gen: number
  readonly due: number
}

/** An actor in the index of states (`state-index.ts`): it enters (`from` is null), leaves (`to` is null), or moves. */
export interface Move {
  readonly actor: ActorAddress
  readonly from: string | null
  readonly to: string | null
}

/** An actor of a kind as the index has it: by its id, in a state since a time. */
export interface Listed {
  readonly id: string
  readonly state: string
  readonly since: number
}

/** How many actors of a kind are in a state. */
export interface StateCount {
  readonly kind: string
  readonly state: string
  readonly actors: number
}

/** One batch of messages with all its consequences. */
export interface Commit {
  readonly shard: ShardName
  readonly epoch: string
  /** The shard's sequence before this commit; after it, one more. */
  readonly seq: number
  readonly cursor: Cursor
  readonly outSeq: number
  readonly incarnation: number
  /** New records; null deletes. */
  readonly records: readonly { readonly actor: ActorAddress; readonly body: string | null }[]
  /** What changes in the index of states, from `at` on. */
  readonly moves: readonly Move[]
  readonly at: number
  /** Sends that the commit itself puts into mailboxes: to this shard, and to any where the transport reaches them all. */
  readonly sends: readonly Send[]
  /** Sends to shards beyond the transport's reach; their seqs end at `outSeq`. */
  readonly outbox: readonly Omit<OutboxEntry, 'incarnation'>[]
  /** Outbox entries up to this seq have been delivered and may go. */
  readonly outTrim: number
  readonly timersSet: readonly TimerEntry[]
  readonly timersCleared: readonly Omit<TimerEntry, 'due'>[]
  /** Actors that a new owner must (true) or need no longer (false) look at: effects under way, watches of pinned actors. */
  readonly effects: readonly { readonly actor: ActorAddress; readonly active: boolean }[]
  /** One entry for the journal, or null. */
  readonly journal: string | null
  /** How many of its entries are kept, about. */
  readonly journalMax: number
  readonly dead: readonly string[]
  /** Messages that this owner's code cannot take: they wait in the shard's held stream for one whose code can. */
  readonly held: readonly string[]
  /** Ids of held messages that have been taken now. The others keep their place. */
  readonly heldTaken: readonly string[]
  /** Answers to asks: published once the commit has taken effect. */
  readonly replies: readonly { readonly channel: string; readonly body: string }[]
  /** Looks into the mailbox afterwards, as `park` does: so many entries of each lane at most. 0: does not look. */
  readonly look: number
}

/** What a look into the mailbox finds: entries after the cursor, or nothing, and then the next sender rings the doorbell. */
export type Mail = readonly Entry[] | 'parked'

export interface Send {
  readonly shard: ShardName
  readonly lane: Lane
  readonly body: string
}

/** A node that lives, and what it can read: of each kind, records up to this version. */
export interface Member {
  readonly id: string
  readonly reads: Readonly<Record<string, number>>
}

/** A shard that holds something which only code from this version of a kind on can read. */
export interface Need {
  readonly shard: ShardName
  readonly kind: string
  readonly version: number
}

/**
 * `gone` are the sends, by index, whose pinned shard is no more; `mail` is null when the commit did not look. `fenced`: another epoch. `seq`: the epoch is ours, yet
 * the shard is not where we thought.
 */
export type CommitOutcome =
  | { readonly ok: true; readonly gone: readonly number[]; readonly mail: Mail | null }
  | { readonly ok: false; readonly why: 'fenced' | 'seq'; readonly seq: number }

/** A message on its way into a mailbox. Per source and lane, seqs rise. */
export interface Delivery {
  readonly source: string
  readonly incarnation: number
  readonly seq: number
  /** Of the envelope in `body`. */
  readonly id: string
  /** The source's, as its claim told it; a client, which no failover throws back, has none. */
  readonly lineage: string
  readonly body: string
}

export interface StreamRow {
  readonly id: string
  readonly body: string
}

export interface Transport {
  readonly name: string
  /**
   * How far one commit reaches. One server holds all shards, so a send is part of its commit, wherever it goes; in a
   * Cluster a script reaches its own shard only, and sends to others go through the outbox and a courier.
   */
  readonly reach: 'every shard' | 'own shard'
  /**
   * Connects, checks versions, makes sure that the namespace has this number of shards. Throws `redis.*`. The id that the
   * namespace got at its first start, and keeps as long as its server keeps anything, tells it from all others.
   */
  start(namespace: { readonly shards: number }): Promise<{ readonly id: string }>
  stop(): Promise<void>
  /** What is amiss though the server answers, in words, or null. Throws when it does not answer. */
  probe(): Promise<string | null>

  /**
   * Says that a node lives and what it has found that it cannot read; returns all that live, and what every shard needs.
   * Needs outlast who found them, and rise only.
   */
  announce(
    member: Member,
    found: readonly Need[],
    ttlMs: number,
  ): Promise<{ readonly members: readonly Member[]; readonly needs: readonly Need[] }>
  withdraw(node: string): Promise<void>

  /** Null while another owner's lease lasts. */
  claim(shard: ShardName, request: ClaimRequest): Promise<Claim | null>
  /** Writes down what the owner is about to try; '' for nothing. */
  attempt(shard: ShardName, epoch: string, trial: string): Promise<void>
  /**
   * The seq at which the shard stands, or null when the epoch is stale. Works after the lease has run out too, as long as
   * nobody has claimed since.
   */
  renew(shard: ShardName, epoch: string, owner: string, ttlMs: number): Promise<number | null>
  release(shard: ShardName, epoch: string): Promise<void>
  /** Pinned shards, and whether each has a lease now. */
  pinned(): Promise<readonly { readonly shard: ShardName; readonly leased: boolean }[]>
  /** Removes a pinned shard with everything in it but its dead letters, if the epoch is its own. */
  drop(shard: ShardName, epoch: string): Promise<void>

  /** Entries after the cursor, control lane first, at most `limit` of each lane. */
  read(shard: ShardName, after: Cursor, limit: number): Promise<readonly Entry[]>
  /**
   * `read`, and when there is nothing after the cursor, tells senders to ring the doorbell at the next delivery. The ring
   * brings along what was delivered, if that is little (ring.ts). Outbox entries up to `outTrim` may go.
   */
  park(shard: ShardName, epoch: string, after: Cursor, limit: number, outTrim: number): Promise<Mail | 'fenced'>
  load(shard: ShardName, actors: readonly ActorAddress[]): Promise<readonly (string | null)[]>
  commit(commit: Commit): Promise<CommitOutcome>
  /** Where the shard stands, whoever asks. */
  position(shard: ShardName): Promise<{ readonly epoch: string; readonly seq: number } | null>
  /** Actors that a new owner must look at. */
  active(shard: ShardName): Promise<readonly ActorAddress[]>
  /** How many actors the index has, by kind and state; none that is empty. */
  states(shard: ShardName): Promise<readonly StateCount[]>
  /** Actors of a kind in a state, by their entry time and then by id, behind `after`. */
  listed(
    shard: ShardName,
    kind: string,
    state: string,
    after: { readonly since: number; readonly id: string } | null,
    limit: number,
  ): Promise<readonly Listed[]>
  /** Timers due until then, earliest first, and when the earliest of all is due. */
  due(
    shard: ShardName,
    until: number,
    limit: number,
  ): Promise<{ readonly timers: readonly TimerEntry[]; readonly next: number | null }>
  outbox(shard: ShardName): Promise<readonly OutboxEntry[]>

  /**
   * How many of the batch, from its first on, are in the mailbox now or were before. The rest is refused: the normal lane
   * has as many messages waiting as `cap` says, or the server is full. `gone`: a pinned shard that does not exist (any more).
   */
  deliver(shard: ShardName, lane: Lane, batch: readonly Delivery[], cap: number): Promise<number | 'gone'>

  /** Pinned shards that are gone and have left dead letters. */
  departed(): Promise<readonly ShardName[]>
  /** Takes a dead letter of the shard away and puts a message into a mailbox; `absent` when there is no such letter. */
  resend(shard: ShardName, letter: string, send: Send): Promise<'sent' | 'absent' | 'gone'>
  /** False when there is no such letter. */
  dropLetter(shard: ShardName, letter: string): Promise<boolean>

  /**
   * Appends to a capped stream beside the mailboxes (telemetry is not mail) and publishes on the channel of its name.
   * A shard's journal and dead letters are such streams too, written by commits.
   */
  append(stream: string, bodies: readonly string[], max: number): Promise<void>
  range(stream: string, after: string, limit: number): Promise<readonly StreamRow[]>
  /** Ids of the last entry that was trimmed (or '0-0') and of the newest one (or '0-0'). */
  ends(stream: string): Promise<{ readonly trimmed: string; readonly newest: string }>

  /** Fleeting signals: doorbells and answers. Lost when nobody listens; nothing durable may depend on them. */
  publish(channel: string, body: string): Promise<void>
  subscribe(channel: string, listener: (body: string) => void): Promise<() => Promise<void>>
}

/** The channel on which a shard's doorbell rings. */
export function doorbell(shard: ShardName): string {
  return `shard/${shard}/bell`
}

/** The stream of a shard's transitions; its channel announces each commit that wrote some. */
export function journalStream(shard: ShardName): string {
  return `shard/${shard}/ev`
}

export function deadLetterStream(shard: ShardName): string {
  return `shard/${shard}/dlq`
}

/** Messages that wait for an owner with newer code. */
export function heldStream(shard: ShardName): string {
  return `shard/${shard}/held`
}

/** Compares two stream ids, `ms-n` each. */
export function compareIds(a: string, b: string): number {
  const [aMs = 0, aN = 0] = a.split('-').map(Number)
  const [bMs = 0, bN = 0] = b.split('-').map(Number)
  return aMs - bMs || aN - bN
}

/** The id just after this one. */
export function nextId(id: string): string {
  const [ms = 0, n = 0] = id.split('-').map(Number)
  return `${ms}-${n + 1}`
}

/** The id just before this one, so that a read "after" it begins with this one. */
export function previousId(id: string): string {
  const [ms = 0, n = 0] = id.split('-').map(Number)
  if (n > 0) return `${ms}-${n - 1}`
  return ms > 0 ? `${ms - 1}-${Number.MAX_SAFE_INTEGER}` : '0-0'
}
