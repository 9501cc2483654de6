/** Finding a sweep for somebody, as job-access.ts finds a job. */
import type { SweepView } from '../machines/sweep-spec.ts'
import { address } from '../runtime/client.ts'
import type { ActorAddress } from '../runtime/client.ts'
import { pathParam, principalOf, type Context } from './api.ts'
import { maySee } from './job-access.ts'
import { GatewayError } from './problems.ts'
import type { Services } from './services.ts'

const SWEEP_ID = /^[A-Za-z0-9_-]{1,64}$/

/** Throws `resource.unknown` for what cannot be a sweep's id, so that no other text ever reaches a key. */
export function sweepAddress(id: string): ActorAddress {
  if (!SWEEP_ID.test(id)) throw unknownSweep(id)
  return address('sweep', id)
}

function unknownSweep(id: string): GatewayError {
  return new GatewayError('resource.unknown', `There is no sweep ${JSON.stringify(id.slice(0, 80))}`)
}

/** The sweep as it is now, or null. */
export async function findSweep(services: Services, id: string): Promise<SweepView | null> {
  const snapshot = await services.client.read(sweepAddress(id))
  if (snapshot !== null) return services.sweeps.view(snapshot)
  return (await services.sweeps.stored.get(id))?.value ?? null
}

/** The one that the path names. Another user's sweep is as unknown as one that never was. */
export async function sweepFor(c: Context, services: Services): Promise<SweepView> {
  const id = pathParam(c, 'id')
  const sweep = await findSweep(services, id)
  if (sweep === null || !maySee(principalOf(c), sweep)) throw unknownSweep(id)
  return sweep
}
