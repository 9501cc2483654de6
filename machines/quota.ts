/**
 * An owner's quota: how many jobs they may have in a pool at once, under way or waiting. All jobs of an owner come to
 * life here, whichever gateway was asked, so that this one actor decides who still finds room. Sweeps and batch jobs are
 * jobs here; a sweep's trials are part of it.
 *
 * Invariants:
 * 1. A job is counted from the commit that brings it to life to the word that it has ended, and counted once, however
 *    often it is asked for.
 * 2. What is refused changes nothing.
 *
 * The limit comes with the question, since a pool's settings are its scheduler's (book.ts); where it sets none,
 * `QUOTA_LIMITS.jobsMax` holds, which bounds this record.
 */
import { assign, setup } from 'xstate'
import type { ActorEnded } from './predecessors.ts'
import { QUOTA_LIMITS } from './limits.ts'
import { vocabulary } from './vocabulary.ts'
import type { Spawn, Watch } from './vocabulary.ts'

export interface QuotaInput {
  readonly owner: string
}

export interface QuotaContext extends QuotaInput {
  /** By pool, the addresses of the owner's jobs that have not ended. */
  readonly jobs: Readonly<Record<string, readonly string[]>>
}

/** Asks for a job to be brought to life; the answer is a `Verdict`. */
export interface AdmitEvent {
  readonly type: 'admit'
  /** The job's address. */
  readonly job: string
  readonly pool: string
  /** How many the pool allows; null where it says nothing. */
  readonly limit: number | null
  /** What the job begins with. */
  readonly input: unknown
}

/** `known`: it is there already. */
export type Verdict =
  | { readonly verdict: 'admitted' | 'known' }
  | { readonly verdict: 'refused'; readonly open: number }

export type QuotaEvent = AdmitEvent | ActorEnded | { readonly type: 'child.failed' }

type Args = { readonly context: QuotaContext; readonly event: QuotaEvent }

const answer = (verdict: Verdict): { readonly data: Verdict } => ({ data: verdict })

export const quotaMachine = setup({
  types: { context: {} as QuotaContext, events: {} as QuotaEvent, input: {} as QuotaInput },
  actions: {
    ...vocabulary,
    count: assign({ jobs: ({ context, event }) => (event.type === 'admit' ? withJob(context, event) : context.jobs) }),
    release: assign({
      jobs: ({ context, event }) => (event.type === 'actor.ended' ? without(context, event.actor) : context.jobs),
    }),
  },
  guards: {
    isKnown: ({ context, event }) => event.type === 'admit' && jobsIn(context, event.pool).includes(event.job),
    hasRoom: ({ context, event }) =>
      event.type === 'admit' &&
      jobsIn(context, event.pool).length < Math.min(event.limit ?? Infinity, QUOTA_LIMITS.jobsMax),
  },
}).createMachine({
  id: 'quota',
  context: ({ input }) => ({ owner: input.owner, jobs: {} }),
  initial: 'open',
  states: {
    open: {
      on: {
        admit: [
          { guard: 'isKnown', actions: { type: 'reply', params: answer({ verdict: 'known' }) } },
          {
            guard: 'hasRoom',
            actions: [
              'count',
              { type: 'spawn', params: birth },
              { type: 'watch', params: end },
              { type: 'reply', params: answer({ verdict: 'admitted' }) },
            ],
          },
          { actions: { type: 'reply', params: refusal } },
        ],
        'actor.ended': { actions: 'release' },
        // It was stopped after too many errors of its own; `actor.ended` says so too.
        'child.failed': {},
      },
    },
  },
})

function jobsIn({ jobs }: QuotaContext, pool: string): readonly string[] {
  return jobs[pool] ?? []
}

function withJob(context: QuotaContext, { pool, job }: AdmitEvent): QuotaContext['jobs'] {
  return { ...context.jobs, [pool]: [...jobsIn(context, pool), job] }
}

function without({ jobs }: QuotaContext, ended: string): QuotaContext['jobs'] {
  const left = Object.entries(jobs).map(([pool, all]) => [pool, all.filter((job) => job !== ended)] as const)
  return Object.fromEntries(left.filter(([, all]) => all.length > 0))
}

function birth({ event }: Args): readonly Spawn[] {
  return event.type === 'admit' ? [{ to: event.job, input: event.input }] : []
}

function end({ event }: Args): readonly Watch[] {
  return event.type === 'admit' ? [{ to: event.job }] : []
}

function refusal({ context, event }: Args): { readonly data: Verdict } {
  return answer({ verdict: 'refused', open: event.type === 'admit' ? jobsIn(context, event.pool).length : 0 })
}
