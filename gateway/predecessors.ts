/** What a job, a batch job or a sweep is to come after (`after`), looked at when it is submitted. */
import type { Predecessor } from '../machines/spec.ts'
import type { ActorAddress } from '../runtime/client.ts'
import type { Context } from './api.ts'
import { principalOf } from './api.ts'
import { findBatch } from './batch-access.ts'
import { isOver } from './events.ts'
import { findJob, maySee } from './job-access.ts'
import { isBatch, isSweep, jobAddress } from './job-address.ts'
import type { FieldError } from './problems.ts'
import type { Services } from './services.ts'
import { findSweep, sweepAddress } from './sweep-access.ts'

export async function checkPredecessors(
  c: Context,
  services: Services,
  { after = [] }: { readonly after?: readonly Predecessor[] },
): Promise<readonly FieldError[]> {
  return (await Promise.all(after.map((each, i) => checkPredecessor(c, services, each, `after[${i}].job`)))).flat()
}

/** It must be there, and one that has not completed and never will is of no use. */
async function checkPredecessor(
  c: Context,
  services: Services,
  { job: id, otherwise }: Predecessor,
  path: string,
): Promise<FieldError[]> {
  const { actor, view } = await find(services, id)
  if (view === null || !maySee(principalOf(c), view)) {
    return [fieldError(path, 'a job, a batch job or a sweep that is there', `"${id}"`)]
  }
  if (otherwise === 'fail' && isOver(view) && view.state !== 'completed') {
    return [fieldError(path, 'one that has completed or still may', `${id}, which is ${view.state}`)]
  }
  if (isOver(view) && (await services.client.read(actor)) === null) {
    return [fieldError(path, 'one that ended within the last day, or not yet', `${id}, which is ${view.state}`)]
  }
  return []
}

interface Found {
  readonly actor: ActorAddress
  readonly view: { readonly owner: string; readonly state: string } | null
}

async function find(services: Services, id: string): Promise<Found> {
  if (isSweep(id)) return { actor: sweepAddress(id), view: await findSweep(services, id) }
  return { actor: jobAddress(id), view: await (isBatch(id) ? findBatch : findJob)(services, id) }
}

function fieldError(path: string, expected: string, found: string): FieldError {
  return { path, expected, found, message: `${path}: expected ${expected}, found ${found}` }
}
