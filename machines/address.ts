/**
 * Where the fleet's actors live. A job and its tasks share the part of the id before the first dot, hence a shard:
 * what they tell each other is part of one commit. Ids are checked at the edge (runtime/address.ts); here they are put
 * together only.
 */
export const jobAddress = (id: string): string => `${isBatch(id) ? 'batch' : 'job'}/${id}`
/** A batch job is told from one that trains by its id, which begins with its kind: who knows the id knows the actor. */
export const isBatch = (id: string): boolean => /^(kernel|evaluate|predict)-/.test(id)
export const sweepAddress = (id: string): string => `sweep/${id}`
/** Likewise; a trial's id goes on behind it. */
export const isSweep = (id: string): boolean => /^sweep-[A-Za-z0-9_]+$/.test(id)
/** A trial's job: the same for the same sweep and trial, so that it is brought to life once. */
export const trialId = (sweep: string, trial: number): string => `${sweep}-${trial}`
export const taskAddress = (id: string): string => `task/${id}`
export const schedulerAddress = (pool: string): string => `scheduler/${pool}`

/** `take` tells the tasks of what is done again after a pause from those that were cancelled for it. */
export const initialiseTaskId = (job: string, take: number): string => `${job}.init${again(take)}`
export const chunkTaskId = (job: string, take: number, chunk: number): string => `${job}.${chunk}${again(take)}`
/** A round that is run again from its checkpoint has tasks of its own: `generation` tells them apart. */
export const roundTaskId = (job: string, take: number, round: number, generation: number, replica: number): string =>
  `${job}.${round}${generation === 0 ? '' : `r${generation}`}.${replica}${again(take)}`
export const evaluateTaskId = (job: string, take: number, slice: number): string => `${job}.eval.${slice}${again(take)}`
export const validateTaskId = (job: string, take: number, round: number, generation: number, slice: number): string =>
  `${job}.val${round}${generation === 0 ? '' : `r${generation}`}.${slice}${again(take)}`
const again = (take: number): string => (take === 0 ? '' : `-${take}`)

/** A second copy of a task that takes too long. */
export const twinAddress = (task: string): string => `${task}-twin`
/** The task of which this is the second copy, or itself. */
export const originalOf = (task: string): string => task.replace(/-twin$/, '')

/** A page of a scheduler's queue. It shares the part of its id before the first dot with its scheduler, hence the shard. */
export const pageAddress = (pool: string, queue: number, page: number): string => `page/${pool}.q${queue}.${page}`
export function pageOf(address: string): { readonly queue: number; readonly page: number } | null {
  const found = /\.q(\d+)\.(\d+)$/.exec(address)
  return found === null ? null : { queue: Number(found[1]), page: Number(found[2]) }
}
