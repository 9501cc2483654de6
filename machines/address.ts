/**
 * Where the fleet's actors live. A job and its tasks share the part of the id before the first dot, hence a shard:
 * what they tell each other is part of one commit. Ids are checked at the edge (runtime/address.ts); here they are put
 * together only.
 */
export const jobAddress = (id: string): string => `job/${id}`
export const taskAddress = (id: string): string => `task/${id}`
export const schedulerAddress = (pool: string): string => `scheduler/${pool}`

export const initialiseTaskId = (job: string): string => `${job}.init`
export const roundTaskId = (job: string, round: number, replica: number): string => `${job}.${round}.${replica}`
export const evaluateTaskId = (job: string, slice: number): string => `${job}.eval.${slice}`
