/** All maxima and defaults of the runtime, and how they must stand to each other. */
export const LIMITS = {
  /** Messages in one commit. Larger batches gain little and hold up the answer to the first. */
  batchMax: 256,
  /** So many messages at a look say that the mailbox is a stream just now: then commits are kept in flight. */
  mailStreamMin: 16,
  /** Commits sent to the transport and not yet acknowledged, per shard. */
  commitsInFlightMax: 3,
  /** Messages that may wait in a normal lane before a sender is told BUSY. */
  mailboxMax: 100_000,
  /** Messages in one delivery to a mailbox. */
  deliveryMax: 512,
  envelopeBytesMax: 1_048_576,
  /** Commits whose transitions a shard's journal keeps at most, and bytes that it takes in Redis, about. */
  journalCommitsMax: 20_000,
  journalBytesMax: 4_194_304,
  deadLettersMax: 10_000,
  /** Dead letters of a pinned shard that is gone are kept so long. */
  departedLettersMs: 7 * 86_400_000,
  /** Entries kept in a capped stream (metrics, logs). */
  streamEntriesMax: 50_000,
  /** Such a stream leaves Redis so long after its last entry. */
  streamKeepMs: 7 * 86_400_000,
  /** Commits per shard of which an owner can still say whom they concerned, should a failover lose them. */
  commitsRememberedMax: 256,
  /** And transitions in them. */
  transitionsRememberedMax: 4_096,
  /** Sends of other shards that a shard can still name, should a failover make one of these send them again. */
  takenRememberedMax: 10_000,
  /** What a pinned shard has sent here last is known for so long: longer than one that lives is ever cut off. */
  pinnedMarksMs: 7 * 86_400_000,
  /** Claims of a shard of which it is known where they stood. */
  lineageMax: 16,
  /** Timers taken from a shard at once. */
  timersDueMax: 1_000,
  /** Where timers come as a stream, a shard takes them so often. */
  timersGrainMs: 16,
  /** Tells scheduled at one actor: they stand in its record. */
  schedulesMax: 1_000,
  /** Actors on one page of what `find` finds. */
  findMax: 1_000,
  /** Idle cells kept in memory per shard before the oldest are dropped. */
  cellsMax: 2_000,

  leaseMs: 1_500,
  /** A lease is renewed this often. */
  leaseRenewMs: 500,
  /** An owner that could not renew for so long stops by itself. */
  leaseSuspendMs: 1_000,
  /** A pinned shard without a lease for so long is adopted: its process is gone. */
  orphanMs: 2_000,
  /** An owner that ends within so long of its claim, and hands nothing over, has crashed (care.ts). */
  crashWindowMs: 60_000,
  /** Owners that may die over a message or an effect before it is poisonous. */
  poisonAttemptsMax: 3,
  /** How long an effect that is started again after crashes is watched before the next one is. */
  effectTrialMs: 1_000,
  /** A process of the command whose event loop stands still for so long ends itself (watchdog.ts). */
  stuckMs: 30_000,
  /** How long a node that leaves waits for effects to heed their signal. */
  effectStopMs: 10_000,
  /** A parked owner looks into its mailbox at least so often, whatever the doorbell says. */
  watchdogMs: 1_000,
  askTimeoutMs: 5_000,
  /** No single answer of the transport is waited for longer. */
  commandTimeoutMs: 5_000,
  /** The transport's health is looked at so often; an answer later than `healthSlowMs` is slow. */
  healthEveryMs: 1_000,
  healthSlowMs: 500,
  healthSilentMs: 3_000,
  /** A part of a Cluster that is silent for so long is said to be, while the others answer. */
  partSilentMs: 1_000,
  /** A connection that was asked something and says nothing for so long is hung up on, and made anew. */
  silenceMs: 3_000,
} as const

export type Limits = { readonly [K in keyof typeof LIMITS]: number }

/** Throws when a set of limits contradicts itself. */
export function checkLimits(limits: Limits): Limits {
  const rules: [boolean, string][] = [
    [limits.leaseRenewMs * 2 <= limits.leaseMs, 'leaseRenewMs must be at most half of leaseMs'],
    [limits.leaseSuspendMs < limits.leaseMs, 'leaseSuspendMs must be below leaseMs'],
    [limits.leaseRenewMs < limits.leaseSuspendMs, 'leaseRenewMs must be below leaseSuspendMs'],
    [limits.orphanMs >= limits.leaseMs, 'orphanMs must be at least leaseMs'],
    [limits.healthSlowMs < limits.healthSilentMs, 'healthSlowMs must be below healthSilentMs'],
    [limits.partSilentMs < limits.healthSilentMs, 'partSilentMs must be below healthSilentMs'],
    [limits.stuckMs > limits.leaseMs, 'stuckMs must be above leaseMs'],
    [limits.batchMax <= limits.mailboxMax, 'batchMax must not exceed mailboxMax'],
  ]
  const broken = rules.filter(([holds]) => !holds).map(([, rule]) => rule)
  if (broken.length > 0) throw new RangeError(broken.join('; '))
  return limits
}

checkLimits(LIMITS)
