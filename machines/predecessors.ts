/**
 * What must have ended before a job, a batch job or a sweep begins: their charts wait alike. An id says of which kind it
 * is, so `after` is a list of ids, whatever they belong to.
 */
import { isSweep, jobAddress, sweepAddress } from './address.ts'
import type { Fault } from './fault.ts'
import type { Predecessor } from './spec.ts'
import type { Watch } from './vocabulary.ts'

/** What a job, a batch job or a sweep says of itself when it has ended. */
export interface Outcome {
  readonly outcome: 'completed' | 'failed' | 'cancelled' | 'stopped'
}

/** The runtime's word that a watched actor has ended. */
export interface ActorEnded {
  readonly type: 'actor.ended'
  readonly actor: string
  readonly status: 'done' | 'error' | 'gone'
  readonly output?: unknown
}

interface Follower {
  readonly spec: { readonly after?: readonly Predecessor[] }
  /** Those before it that have not ended. */
  readonly predecessors: readonly string[]
  readonly fault: Fault | null
}

export function hasPredecessors({ spec: { after = [] } }: Pick<Follower, 'spec'>): boolean {
  return after.length > 0
}

export function predecessorsOf({ spec: { after = [] } }: Pick<Follower, 'spec'>): readonly string[] {
  return after.map(({ job }) => addressOf(job))
}

/** Once one of them has ended, which speaks against the follower where it should have completed and has not. */
export function withoutPredecessor(follower: Follower, ending: ActorEnded): Pick<Follower, 'predecessors' | 'fault'> {
  return {
    predecessors: follower.predecessors.filter((each) => each !== ending.actor),
    fault: follower.fault ?? faultOf(follower, ending),
  }
}

/** The state of waiting, from which `ready` follows; `isOver` is what a chart does when that takes too long. */
export function waiting<Ready extends string, IsOver>(ready: Ready, isOver: IsOver) {
  return {
    entry: ['expectPredecessors', { type: 'watch', params: watches }],
    always: [
      { guard: 'isOutOfLuck', target: 'cancelling' },
      { guard: 'isReady', target: ready },
    ],
    on: { 'actor.ended': { actions: 'settlePredecessor' }, pause: 'pausing' },
    after: { waitLimit: { target: 'cancelling', actions: isOver } },
  } as const
}

function watches({ context }: { readonly context: Follower }): readonly Watch[] {
  return predecessorsOf(context).map((to) => ({ to }))
}

function faultOf({ spec: { after = [] } }: Follower, { actor, status, output }: ActorEnded): Fault | null {
  const predecessor = after.find(({ job }) => addressOf(job) === actor)
  if (predecessor === undefined || predecessor.otherwise === 'begin') return null
  const { outcome = 'failed' } = (output ?? {}) as Partial<Outcome> // of whoever may be named in `after`
  if (status === 'gone') return predecessorFailed(predecessor, 'is not there')
  if (status === 'done' && outcome === 'completed') return null
  return predecessorFailed(predecessor, outcome === 'failed' ? 'has failed' : `has been ${outcome}`)
}

function predecessorFailed({ job }: Predecessor, how: string): Fault {
  return {
    code: 'job.predecessor-failed',
    message: `${isSweep(job) ? 'Sweep' : 'Job'} ${job}, which this one comes after, has not completed: it ${how}`,
    remedy: 'fix-request',
    data: { job },
  }
}

function addressOf(id: string): string {
  return isSweep(id) ? sweepAddress(id) : jobAddress(id)
}
