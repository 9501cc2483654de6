/**
 * The registry: finished models under a name, in versions 1, 2, 3… A job gets one version, however often its effect
 * runs: the number is given out by one document per name that remembers who got which, changed by compare-and-set.
 */
import type { ModelRef, RegisterInput } from '../machines/training.ts'
import type { ModelVersionView } from '../machines/views.ts'
import type { Clock } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { versionedId } from './collections.ts'
import type { FleetCollections } from './collections.ts'
import { readManifest } from './datasets.ts'
import { FleetError } from './errors.ts'

export interface RegistryServices {
  readonly blobs: Pick<Blobs, 'bytes'>
  readonly collections: Pick<FleetCollections, 'models' | 'modelNumbers'>
  readonly clock: Pick<Clock, 'now'>
}

const ALLOCATE_ATTEMPTS_MAX = 50

export async function register(services: RegistryServices, input: RegisterInput): Promise<ModelRef> {
  const { blobs, collections, clock } = services
  const { id, owner, spec, plan, weights, evaluation } = input
  const { name } = spec.register
  const manifest = await readManifest(blobs, plan.recipe.manifest)
  const version = await allocate(services, name, id)
  const view: ModelVersionView = {
    name,
    version,
    createdAt: clock.now(),
    job: id,
    owner,
    dataset: plan.dataset,
    weights,
    topology: plan.topology,
    preprocess: spec.preprocess,
    input: manifest.features,
    target: manifest.target,
    ...(evaluation !== null && { evaluation }),
    spec,
  }
  // An earlier run of this effect may have written it already: its time of creation stays.
  await collections.models.insert(versionedId(name, version), view)
  return { name, version }
}

async function allocate({ collections }: RegistryServices, name: string, job: string): Promise<number> {
  for (let attempt = 1; attempt <= ALLOCATE_ATTEMPTS_MAX; attempt++) {
    const stored = await collections.modelNumbers.get(name)
    const { last, versions } = stored?.value ?? { last: 0, versions: {} }
    const known = versions[job]
    if (known !== undefined) return known
    const next = { last: last + 1, versions: { ...versions, [job]: last + 1 } }
    const written = await (stored === undefined
      ? collections.modelNumbers.insert(name, next)
      : collections.modelNumbers.update(name, stored.version, next))
    if (written !== undefined) return next.last
  }
  throw new FleetError('model.version-contended', `Cannot get a version of model "${name}": too many jobs want one`, {
    name,
  })
}
