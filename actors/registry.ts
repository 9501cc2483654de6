/**
 * The registry: finished models under a name, in versions 1, 2, 3… A job gets one version, however often its effect
 * runs: the number is given out by one document per name that remembers who got which, changed by compare-and-set.
 * What a version is never changes; how it is used does: its stage, and the aliases that point to it. Both keep their
 * whole history, with who changed them and when.
 */
import type { ModelRef, RegisterInput } from '../machines/training.ts'
import type { ModelAliasView, ModelVersionView, Stage } from '../machines/views.ts'
import type { Pipeline } from '../kernels/mod.ts'
import type { Clock } from '../runtime/mod.ts'
import type * as Stores from '../stores/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import { aliasId, versionedId } from './collections.ts'
import type { FleetCollections } from './collections.ts'
import { FleetError } from './errors.ts'

export interface RegistryServices {
  readonly blobs: Pick<Blobs, 'bytes'>
  readonly collections: Pick<FleetCollections, 'models' | 'modelNumbers' | 'modelAliases'>
  readonly clock: Pick<Clock, 'now'>
  /** Changes a document by compare-and-set. */
  readonly modify: typeof Stores.modify
  /** The version of this program: part of a model's lineage. */
  readonly code: string
}

export class Registry {
  readonly #services: RegistryServices

  constructor(services: RegistryServices) {
    this.#services = services
  }

  /** The version that is meant: by its number, by an alias, or `latest`. Null where there is none. */
  async find(name: string, which: string): Promise<ModelVersionView | null> {
    const { models, modelAliases } = this.#services.collections
    const isNumber = /^[1-9]\d{0,8}$/.test(which)
    const alias = isNumber || which === 'latest' ? undefined : (await modelAliases.get(aliasId(name, which)))?.value
    const version = isNumber ? Number(which) : alias?.version
    if (which !== 'latest')
      return version == null ? null : ((await models.get(versionedId(name, version)))?.value ?? null)
    const page = await models.find({ where: { name }, order: { by: 'version', direction: 'descending' }, limit: 1 })
    return page.items[0]?.value ?? null
  }

  /** Gives a job's model its version. A second run for the same job changes nothing. */
  async register(input: RegisterInput): Promise<ModelRef> {
    const { blobs, collections, clock, code } = this.#services
    const { id, owner, spec, plan, weights, fingerprint, evaluation, validation, trial } = input
    const { name } = spec.register ?? spec
    const pipeline = await readPipeline(blobs, plan.pipeline.sha256)
    const parent = plan.start && (await this.find(plan.start.name, String(plan.start.version)))
    const version = await this.#allocate(name, id)
    const view: ModelVersionView = {
      name,
      version,
      stage: 'none',
      stages: [],
      createdAt: clock.now(),
      job: id,
      ...(trial !== undefined && { sweep: { id: trial.sweep, trial: trial.trial } }),
      owner,
      code,
      ...(fingerprint !== null && { fingerprint }),
      ...(parent && { parent: { name: parent.name, version: parent.version } }),
      dataset: plan.dataset,
      weights,
      topology: plan.topology,
      preprocess: spec.preprocess ?? parent?.preprocess ?? [],
      features: pipeline.features,
      input: pipeline.input,
      targetColumn: pipeline.target?.name ?? null,
      target: pipeline.output,
      pipeline: plan.pipeline,
      ...(evaluation !== null && { evaluation }),
      ...(validation !== null && { validation }),
      spec,
    }
    // An earlier run of this effect may have written it already: its time of creation stays.
    await collections.models.insert(versionedId(name, version), view)
    return { name, version }
  }

  /** Moves a version to another stage; where it is there already, nothing changes. Throws `model.unknown`. */
  async setStage({ name, version }: ModelRef, to: StageMove): Promise<ModelVersionView> {
    const { collections, clock, modify } = this.#services
    const at = clock.now()
    const stored = await modify(collections.models, versionedId(name, version), (model) => {
      if (model === undefined || model.stage === to.stage) return undefined
      return { ...model, stage: to.stage, stages: [...model.stages, { ...to, at }] }
    })
    if (stored === undefined) throw unknown(name, version)
    return stored.value
  }

  /** Points an alias to a version, wherever it pointed before. Throws `model.unknown`. */
  async setAlias({ name, version }: ModelRef, alias: string, by: string): Promise<ModelAliasView> {
    if ((await this.#services.collections.models.get(versionedId(name, version))) === undefined) {
      throw unknown(name, version)
    }
    return this.#pointAlias(name, alias, version, by)
  }

  /** An alias that is removed points nowhere; what it was is remembered. Throws `model.alias-unknown`. */
  async removeAlias(name: string, alias: string, by: string): Promise<ModelAliasView> {
    const stored = await this.#services.collections.modelAliases.get(aliasId(name, alias))
    if (stored === undefined || stored.value.version === null) {
      throw new FleetError('model.alias-unknown', `Model "${name}" has no alias "${alias}"`, { name, alias })
    }
    return this.#pointAlias(name, alias, null, by)
  }

  async #allocate(name: string, job: string): Promise<number> {
    const { collections, modify } = this.#services
    const stored = await modify(collections.modelNumbers, name, (numbers) => {
      const { last, versions } = numbers ?? { last: 0, versions: {} }
      return versions[job] === undefined ? { last: last + 1, versions: { ...versions, [job]: last + 1 } } : undefined
    })
    const version = stored?.value.versions[job]
    if (version === undefined) throw new TypeError(`job ${job} was given no version of ${name}`)
    return version
  }

  async #pointAlias(name: string, alias: string, version: number | null, by: string): Promise<ModelAliasView> {
    const { collections, clock, modify } = this.#services
    const row = { version, at: clock.now(), by }
    const stored = await modify(collections.modelAliases, aliasId(name, alias), (known) => {
      if (known?.version === version) return undefined
      return { name, alias, version, history: [...(known?.history ?? []), row] }
    })
    if (stored === undefined) throw new TypeError(`alias ${alias} of ${name} was not written`)
    return stored.value
  }
}

/** The fitted preprocessing that a blob holds, put there when the job was prepared. */
export async function readPipeline(blobs: Pick<Blobs, 'bytes'>, sha256: string): Promise<Pipeline> {
  return JSON.parse(new TextDecoder().decode(await blobs.bytes(sha256))) as Pipeline // see above
}

export interface StageMove {
  readonly stage: Stage
  readonly by: string
  readonly note?: string
}

function unknown(name: string, version: number): FleetError {
  return new FleetError('model.unknown', `There is no version ${version} of model "${name}"`, { name, version })
}
