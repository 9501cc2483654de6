/** A job's actor and its streams, by the job's id. */
import { address } from '../runtime/client.ts'
import type { ActorAddress } from '../runtime/client.ts'
import { GatewayError } from './problems.ts'

/** No dot: what stands before it decides the shard, and a job is the first of its tasks. */
const JOB_ID = /^[A-Za-z0-9_-]{1,64}$/

/** Throws `resource.unknown` for what cannot be a job's id, so that no other text ever reaches a key. */
export function jobAddress(id: string): ActorAddress {
  if (!JOB_ID.test(id)) throw unknownJob(id)
  return address(isBatch(id) ? 'batch' : 'job', id)
}

/** A batch job is told from one that trains by its id, which begins with its kind. */
export function isBatch(id: string): boolean {
  return /^(kernel|evaluate|predict)-/.test(id)
}

/** Likewise; a trial's id goes on behind it. */
export function isSweep(id: string): boolean {
  return /^sweep-[A-Za-z0-9_]+$/.test(id)
}

export function metricsStream(id: string): string {
  return `job:${id}:metrics`
}

export function logsStream(id: string): string {
  return `job:${id}:logs`
}

export function unknownJob(id: string): GatewayError {
  return new GatewayError('resource.unknown', `There is no job ${JSON.stringify(id.slice(0, 80))}`)
}
