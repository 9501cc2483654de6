/**
 * Datasets by name: a version is a manifest, a blob that lists shards, which are blobs too. What comes with a package
 * (MNIST) is brought in at its first use: files → shards → blobs → manifest → document. Every step names its result by
 * content, so that doing it twice, or half of it and then again, ends in the same place.
 */
import { readFile } from 'node:fs/promises'
import type * as Kernels from '../kernels/mod.ts'
import type { DatasetManifest, FeatureSpec, ShardRef, SplitManifest, TargetSpec } from '../kernels/mod.ts'
import type { DatasetRef } from '../machines/spec.ts'
import type { Clock } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { BuiltInDataset, IdxFiles } from './built-in-datasets.ts'
import { versionedId } from './collections.ts'
import type { FleetCollections } from './collections.ts'
import { FleetError } from './errors.ts'
import type { Log } from './streams.ts'

/** What a model must fit, known before the data is. */
export interface DatasetFacts {
  readonly name: string
  readonly version: number
  readonly features: FeatureSpec
  readonly target: TargetSpec
  readonly trainExamples: number
  readonly testExamples: number
}

export interface ResolvedDataset extends DatasetFacts {
  /** sha256 of the manifest. */
  readonly manifest: string
}

export interface DatasetServices {
  readonly blobs: Pick<Blobs, 'put' | 'bytes'>
  readonly collections: Pick<FleetCollections, 'datasets'>
  readonly kernels: Pick<typeof Kernels, 'ingestIdx'>
  readonly clock: Pick<Clock, 'now'>
  readonly builtIn: readonly BuiltInDataset[]
}

export interface ResolveOptions {
  readonly signal: AbortSignal
  readonly log: Log
}

export class Datasets {
  readonly #services: DatasetServices

  constructor(services: DatasetServices) {
    this.#services = services
  }

  /** The names that a spec may use. */
  async names(): Promise<string[]> {
    const names = new Set(this.#services.builtIn.map(({ name }) => name))
    for (let cursor: string | undefined; ;) {
      const page = await this.#services.collections.datasets.find(cursor === undefined ? {} : { cursor })
      for (const { value } of page.items) names.add(value.name)
      if (page.next === undefined) return [...names].toSorted()
      cursor = page.next
    }
  }

  /** What the dataset holds, without bringing it in. Throws `dataset.unknown`, `dataset.version-unknown`. */
  async facts(ref: DatasetRef): Promise<DatasetFacts> {
    const stored = await this.#stored(ref)
    if (stored !== null) return stored
    return factsOfBuiltIn(await this.#builtIn(ref))
  }

  /** The dataset's manifest; brings the dataset in where it came with a package and was never used. */
  async resolve(ref: DatasetRef, options: ResolveOptions): Promise<ResolvedDataset> {
    const stored = await this.#stored(ref)
    if (stored !== null) return stored
    const builtIn = await this.#builtIn(ref)
    await this.#ingest(builtIn, options)
    return this.resolve(ref, options)
  }

  async #stored(ref: DatasetRef): Promise<ResolvedDataset | null> {
    const { collections, blobs } = this.#services
    const { name, version } = ref
    const { items } = await collections.datasets.find({
      where: { name, ...(version !== undefined && { version }) },
      order: { by: 'version', direction: 'descending' },
      limit: 1,
    })
    const document = items[0]?.value
    if (document === undefined) return null
    return { ...factsOf(document.version, await readManifest(blobs, document.manifest)), manifest: document.manifest }
  }

  async #builtIn({ name, version }: DatasetRef): Promise<BuiltInDataset> {
    const names = await this.names()
    const found = this.#services.builtIn.find((dataset) => dataset.name === name)
    if (found !== undefined && (version === undefined || version === 1)) return found
    if (names.includes(name)) {
      throw new FleetError('dataset.version-unknown', `Dataset "${name}" has no version ${version}`, {
        path: 'dataset.version',
        expected: found === undefined ? `a version of ${name}` : '1',
        found: String(version),
      })
    }
    throw new FleetError('dataset.unknown', `There is no dataset "${name}"; there are ${names.join(', ')}`, {
      path: 'dataset.name',
      expected: `one of ${names.join(', ')}`,
      found: name,
    })
  }

  async #ingest(dataset: BuiltInDataset, { signal, log }: ResolveOptions): Promise<void> {
    const { blobs, collections, clock } = this.#services
    await log('info', `Dataset ${dataset.name}: first use, bringing it in`)
    const train = await this.#ingestSplit(dataset, dataset.train, signal)
    await log('info', `Dataset ${dataset.name}: ${train.count} training examples in ${train.shards.length} shards`)
    const test = await this.#ingestSplit(dataset, dataset.test, signal)
    await log('info', `Dataset ${dataset.name}: ${test.count} test examples in ${test.shards.length} shards`)
    const { name, features, target } = dataset
    const manifest: DatasetManifest = { name, version: '1', features, target, splits: { train, test } }
    const { sha256 } = await blobs.put(new TextEncoder().encode(JSON.stringify(manifest)), { signal })
    // Whoever inserts first is right: the same files give the same manifest.
    await collections.datasets.insert(versionedId(name, 1), {
      name,
      version: 1,
      manifest: sha256,
      createdAt: clock.now(),
    })
  }

  async #ingestSplit(dataset: BuiltInDataset, files: IdxFiles, signal: AbortSignal): Promise<SplitManifest> {
    const { blobs, kernels } = this.#services
    const [images, labels] = await Promise.all([read(dataset, files.images), read(dataset, files.labels)])
    const { target } = dataset
    const ingest = kernels.ingestIdx({ images, labels, ...(target.kind === 'class' && { classes: target.classes }) })
    const shards: ShardRef[] = []
    for await (const { bytes, count } of ingest.shards) {
      signal.throwIfAborted()
      const { sha256, sizeBytes } = await blobs.put(bytes, { signal })
      shards.push({ sha256, sizeBytes, count })
    }
    return { count: ingest.count, shards }
  }
}

/** The manifest that a blob holds. It was written by an ingest, and its bytes are verified by their hash. */
export async function readManifest(blobs: Pick<Blobs, 'bytes'>, sha256: string): Promise<DatasetManifest> {
  return JSON.parse(new TextDecoder().decode(await blobs.bytes(sha256))) as DatasetManifest // see above
}

function factsOf(version: number, manifest: DatasetManifest): DatasetFacts {
  const { name, features, target, splits } = manifest
  return {
    name,
    version,
    features,
    target,
    trainExamples: splits.train.count,
    testExamples: splits.test?.count ?? 0,
  }
}

function factsOfBuiltIn({ name, features, target, train, test }: BuiltInDataset): DatasetFacts {
  return { name, version: 1, features, target, trainExamples: train.count, testExamples: test.count }
}

async function read(dataset: BuiltInDataset, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (error) {
    throw new FleetError(
      'dataset.unreadable',
      `Cannot read ${path} of dataset ${dataset.name}: ${error instanceof Error ? error.message : String(error)}`,
      { path },
      error,
    )
  }
}
