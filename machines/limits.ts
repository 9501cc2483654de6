/**
 * Every limit of the charts: how long each wait may take, how often a thing is tried, how much is kept. The relations
 * between them are asserted at load, since a limit that fires before the one it relies on is a bug that hides for months.
 */
const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

export const JOB_LIMITS = {
  validateMs: MINUTE,
  /** The first use of a dataset may have to bring it in. */
  prepareMs: HOUR,
  /** How long a job waits for its first worker. */
  queueMs: 24 * HOUR,
  initialiseMs: 24 * HOUR,
  /** A round's tasks have limits of their own; this one covers a fleet that stays empty. */
  collectMs: 24 * HOUR,
  reduceMs: HOUR,
  evaluateMs: 24 * HOUR,
  scoreMs: HOUR,
  registerMs: 10 * MINUTE,
  /** After this a cancelled job ends, and a pausing one is paused, without its tasks' word. */
  cancelMs: 1_800,
  /** How long a pause waits for the end of the round. */
  pauseGraceMs: 10 * SECOND,
  pausedMs: 30 * 24 * HOUR,
  /** How long a job waits for those before it. */
  waitMs: 7 * 24 * HOUR,
} as const

export const TASK_LIMITS = {
  queueMs: 24 * HOUR,
  /** From the assignment to the worker's word that it has the task. */
  assignMs: 15 * SECOND,
  /** Until a round's time is known, this is the limit of one run. */
  runMs: HOUR,
  runMinMs: 2 * MINUTE,
  /** A run may take this many times the slowest of the round before. */
  runFactor: 20,
  stopMs: 1_500,
  withdrawMs: 1_500,
  /** A run is slow when it takes this many times what it should, but not for less than a quarter of a second. */
  slowFactor: 1.15,
  slowMinMs: 250,
  /** Runs that end in an error worth retrying. */
  failuresMax: 4,
  /** A run that hung counts for so many: it has taken a slot for minutes, and a loop without end hangs at the next try too. */
  hangWeight: 2,
  /** Workers that may vanish under one task before it counts as what kills them. */
  lossesMax: 16,
  backoffBaseMs: 250,
  backoffMaxMs: 30 * SECOND,
} as const

export const WORKER_LIMITS = {
  openMs: 3 * MINUTE,
  /** The scheduler's welcome is asked for again after this. */
  welcomeMs: 5 * SECOND,
  drainMs: 10 * MINUTE,
  /** Runs that should take less than this say nothing about a worker's pace: chance is too large a part of them. */
  paceFromMs: 250,
  /** Jobs whose runs a worker counts. */
  jobsKept: 16,
  /** How long a worker that is gone still answers those who have not heard. */
  lingerMs: 10 * MINUTE,
} as const

export const SCHEDULER_LIMITS = {
  /** How often work of a class may be passed over by a higher class before it goes first. */
  passedOverMax: { normal: 8, low: 32 },
  /** Workers that are gone and still shown. */
  departedKept: 8,
  /** Entries of one page of a queue; the book keeps up to three pages' worth of each queue. */
  pageSize: 8,
  /** How far from the front of its queue a task may be that goes first for the sake of its worker's caches … */
  affinityReach: 8,
  /** … and how often the first one lets others go before it for that. */
  affinityPatience: 8,
  /** How often smaller ones go before a gang that finds no room, until room is kept for it. */
  gangPatience: 16,
  /** Datasets that a worker is remembered for. */
  dataKept: 4,
  /** A run that takes this many times what others need says that its worker is slow; up to the other, that it is not. */
  paceSlow: 2,
  paceTolerated: 1.3,
  /** How much of a worker's pace is what it was before its last run. */
  paceMemory: 0.5,
  /** Assignments for which a slow worker is spared before it is tried again, doubled each time up to so often. */
  spareAssignments: 32,
  spareDoublings: 6,
} as const

export const SWEEP_LIMITS = {
  trialsMax: 1_000,
  /** After this a sweep ends without the word of trials that it has cancelled. */
  cancelMs: 5_000,
  registerMs: 10 * MINUTE,
  pausedMs: 30 * 24 * HOUR,
} as const

export const QUOTA_LIMITS = {
  /** Jobs of one owner in one pool that have not ended, where the pool sets no lower limit. */
  jobsMax: 10_000,
} as const

const relations: [holds: boolean, law: string][] = [
  [TASK_LIMITS.stopMs < JOB_LIMITS.cancelMs, 'a task that is cancelled gives up waiting before its job does'],
  [TASK_LIMITS.withdrawMs < JOB_LIMITS.cancelMs, 'a withdrawn task gives up waiting before its job does'],
  [JOB_LIMITS.cancelMs < SWEEP_LIMITS.cancelMs, 'a trial that is cancelled ends before its sweep gives up waiting'],
  [TASK_LIMITS.runMinMs < TASK_LIMITS.runMs, 'the least limit of a run is below its first one'],
  [SCHEDULER_LIMITS.paceTolerated < SCHEDULER_LIMITS.paceSlow, 'a worker is not slow and swift at once'],
  [TASK_LIMITS.backoffBaseMs < TASK_LIMITS.backoffMaxMs, 'a backoff can grow'],
  [TASK_LIMITS.assignMs < WORKER_LIMITS.lingerMs, 'a worker that is gone answers for longer than a task waits for it'],
  [TASK_LIMITS.queueMs <= JOB_LIMITS.collectMs, 'a task gives up queueing no later than its job'],
]
for (const [holds, law] of relations) if (!holds) throw new Error(`limits.ts contradicts itself: ${law}`)
